import { Type } from 'typebox'
import { textEnum } from '../../http/json-schema.ts'
import { clientParameters } from '../client-authentication/schemas.ts'
import { MAX_PROOF_LENGTH } from '../dpop/binding.ts'

export const TokenRequestSchema = Type.Object(
  {
    grant_type: textEnum(['client_credentials'], { description: 'Always client_credentials (RFC 6749 §4.4.2)' }),
    scope: Type.Optional(
      Type.String({
        description: 'Requested scopes, separated by spaces. Without it, all scopes of the registration are granted.',
        examples: ['devices:read']
      })
    ),
    resource: Type.Optional(
      Type.String({
        description:
          'The audience that the token is for: one of the audiences of the registration (RFC 8707). Without it, the token is for the first one.',
        examples: ['https://devices.example.com']
      })
    ),
    ...clientParameters({
      clientId:
        'Client ID. Required with client_secret, and with the token of a workload. Optional with an assertion of the client, whose sub it equals, and with the Authorization header.',
      clientSecret:
        'Client secret. Required when the client authenticates neither by the Authorization header nor by client_assertion.',
      clientAssertion:
        'A JWT that the client has signed with its private key (private_key_jwt). iss and sub are the Client ID, aud is the issuer and nothing else, jti is new in each assertion. It is valid until exp, for at most 300 seconds after iat, and once. Or the token of a workload, by the issuer and with the subject that the registration names: aud is the issuer of access tokens and nothing else. It is valid until exp, and for at most 3600 seconds after iat.'
    })
  },
  { $id: 'TokenRequest', description: 'A token request. Unknown parameters are ignored, repeated ones are refused.' }
)

export const DpopHeader = Type.Object({
  dpop: Type.Optional(
    Type.String({
      maxLength: MAX_PROOF_LENGTH,
      description:
        'A DPoP proof (RFC 9449 §4.2): a JWT with typ dpop+jwt, the public key in jwk, htm POST, htu the URL of the token endpoint, a new jti, and iat from 60 seconds ago to 10 seconds ahead. The token is then bound to that key: its cnf.jkt is the thumbprint, and token_type is DPoP. Required for a registration with `dpopBound`.',
      examples: ['eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2Iiwiandr…']
    })
  )
})

export const TokenResponseSchema = Type.Object(
  {
    access_token: Type.String({
      description: 'JWT access token (RFC 9068)',
      examples: ['eyJ0eXAiOiJhdCtqd3QiLCJhbGc…']
    }),
    token_type: textEnum(['Bearer', 'DPoP'], {
      description: 'How to use the token: `Bearer` (RFC 6750), or `DPoP` when it is bound to a key (RFC 9449 §7.1)'
    }),
    expires_in: Type.Integer({
      minimum: 0,
      description: 'Whole seconds until the token expires. It is 0 in the last second of the registration.',
      examples: [900]
    }),
    scope: Type.Optional(
      Type.String({
        description: 'Granted scopes, separated by spaces. Absent when no scope is granted.',
        examples: ['devices:read']
      })
    )
  },
  { $id: 'TokenResponse', additionalProperties: false, description: 'An access token (RFC 6749 §5.1)' }
)
