import { Type } from 'typebox'
import { issuedTokenParameters } from '../issued-tokens/schemas.ts'

export const RevocationRequestSchema = Type.Object(issuedTokenParameters('The access token that the client revokes'), {
  $id: 'RevocationRequest',
  description: 'A revocation request (RFC 7009 §2.1). Unknown parameters are ignored, repeated ones are refused.'
})
