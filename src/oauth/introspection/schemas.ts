import { Type } from 'typebox'
import { textEnum } from '../../http/json-schema.ts'
import { issuedTokenParameters } from '../issued-tokens/schemas.ts'

export const IntrospectionRequestSchema = Type.Object(
  issuedTokenParameters('The access token that the caller asks about'),
  {
    $id: 'IntrospectionRequest',
    description: 'An introspection request (RFC 7662 §2.1). Unknown parameters are ignored, repeated ones are refused.'
  }
)

export const IntrospectionResponseSchema = Type.Object(
  {
    active: Type.Boolean({
      description: 'Whether the token is valid now, and the caller may ask about it. When false, it is the only member.'
    }),
    client_id: Type.Optional(
      Type.String({ description: 'Client ID that the token was issued to', examples: ['k3v9x2m7q1w8z5t4r6y0'] })
    ),
    scope: Type.Optional(
      Type.String({
        description: 'Granted scopes, separated by spaces. Absent when no scope was granted.',
        examples: ['devices:read']
      })
    ),
    token_type: Type.Optional(
      textEnum(['Bearer', 'DPoP'], { description: 'How the token is used (RFC 6750, RFC 9449)' })
    ),
    exp: Type.Optional(Type.Integer({ description: 'When the token expires, seconds since 1970' })),
    iat: Type.Optional(Type.Integer({ description: 'When the token was issued, seconds since 1970' })),
    iss: Type.Optional(Type.String({ description: 'Issuer of the token', examples: ['https://grantd.example.com'] })),
    sub: Type.Optional(Type.String({ description: 'Same as `client_id`', examples: ['k3v9x2m7q1w8z5t4r6y0'] })),
    aud: Type.Optional(
      Type.String({
        description: 'The resource server that the token is for',
        examples: ['https://devices.example.com']
      })
    ),
    jti: Type.Optional(
      Type.String({ description: 'Id of the token', examples: ['6b1d0e0e-6b0d-4c5b-9a52-9b1a7ad1a5c4'] })
    ),
    site: Type.Optional(Type.String({ description: 'Site of the registration', examples: ['acme'] })),
    cnf: Type.Optional(
      Type.Object(
        { jkt: Type.String({ description: 'Thumbprint of the key (RFC 7638)' }) },
        {
          additionalProperties: false,
          description: 'The key that the token is bound to (RFC 9449 §6). Absent for a bearer token.'
        }
      )
    )
  },
  {
    $id: 'IntrospectionResponse',
    additionalProperties: false,
    description: 'State of a token, and its claims when it is active (RFC 7662 §2.2)'
  }
)
