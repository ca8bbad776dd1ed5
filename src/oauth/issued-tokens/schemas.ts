import { Type } from 'typebox'
import { clientParameters } from '../client-authentication/schemas.ts'

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
    ...clientParameters({
      clientId:
        'Client ID of the caller. Required with client_secret, and with the token of a workload. Optional with an assertion of the client and with the Authorization header.',
      clientSecret:
        'Client secret of the caller. Required when it authenticates neither by the Authorization header nor by client_assertion.',
      clientAssertion: 'A JWT that proves the caller, as at the token endpoint.'
    })
  }
}
