import { Type } from 'typebox'
import { textEnum } from '../../http/json-schema.ts'
import { ASSERTION_TYPE, MAX_ASSERTION_LENGTH } from '../client-authentication/client-assertion.ts'

/** Parameters of a request about a token, for openapi.yaml. @param token description of `token` */
export function issuedTokenParameters(token: string) {
  return {
    token: Type.String({ format: 'password', description: token, examples: ['eyJ0eXAiOiJhdCtqd3QiLCJhbGc…'] }),
    token_type_hint: Type.Optional(
      Type.String({
        description: 'Ignored, because grantd issues one type of token.',
        examples: ['access_token']
      })
    ),
    client_id: Type.Optional(
      Type.String({
        description:
          'Client ID of the caller. Required with client_secret, and with the token of a workload. Optional with an assertion of the client and with the Authorization header.',
        examples: ['k3v9x2m7q1w8z5t4r6y0']
      })
    ),
    client_secret: Type.Optional(
      Type.String({
        format: 'password',
        description:
          'Client secret of the caller. Required when it authenticates neither by the Authorization header nor by client_assertion.'
      })
    ),
    client_assertion_type: Type.Optional(
      textEnum([ASSERTION_TYPE], { description: 'Required with client_assertion (RFC 7523 §2.2)' })
    ),
    client_assertion: Type.Optional(
      Type.String({
        format: 'password',
        maxLength: MAX_ASSERTION_LENGTH,
        description: 'A JWT that proves the caller, as at the token endpoint.',
        examples: ['eyJhbGciOiJFUzI1NiJ9…']
      })
    )
  }
}
