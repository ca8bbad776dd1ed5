import { Type } from 'typebox'
import { textEnum } from '../../http/json-schema.ts'

export const TokenRequestSchema = Type.Object(
  {
    grant_type: textEnum(['client_credentials'], { description: 'Always client_credentials (RFC 6749 §4.4.2)' }),
    scope: Type.Optional(
      Type.String({
        description: 'Scopes asked for, separated by spaces; without it all that the registration has',
        examples: ['devices:read']
      })
    ),
    client_id: Type.Optional(
      Type.String({
        description: 'Client ID, when the client does not authenticate by the Authorization header',
        examples: ['k3v9x2m7q1w8z5t4r6y0']
      })
    ),
    client_secret: Type.Optional(
      Type.String({
        format: 'password',
        description: 'Client secret, when the client does not authenticate by the Authorization header'
      })
    )
  },
  { $id: 'TokenRequest', description: 'A token request; unknown parameters are ignored, repeated ones refused' }
)

export const TokenResponseSchema = Type.Object(
  {
    access_token: Type.String({
      description: 'JWT access token (RFC 9068)',
      examples: ['eyJ0eXAiOiJhdCtqd3QiLCJhbGc…']
    }),
    token_type: textEnum(['Bearer'], { description: 'How to use it (RFC 6750)' }),
    expires_in: Type.Integer({
      minimum: 0,
      description: 'Whole seconds until it expires; 0 in the last second of its registration',
      examples: [900]
    }),
    scope: Type.Optional(
      Type.String({ description: 'Scopes granted, separated by spaces; absent when none', examples: ['devices:read'] })
    )
  },
  { $id: 'TokenResponse', additionalProperties: false, description: 'An access token (RFC 6749 §5.1)' }
)

export const OAuthErrorSchema = Type.Object(
  {
    error: textEnum(
      [
        'invalid_request',
        'invalid_client',
        'invalid_scope',
        'unsupported_grant_type',
        'temporarily_unavailable',
        'slow_down',
        'server_error'
      ],
      { description: 'Error code' }
    ),
    error_description: Type.String({ description: 'The error in words, for the developer of the client' })
  },
  { $id: 'OAuthError', additionalProperties: false, description: 'An error of the token endpoint (RFC 6749 §5.2)' }
)
