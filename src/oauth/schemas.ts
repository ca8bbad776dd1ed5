import { Type } from 'typebox'
import { textEnum } from '../http/json-schema.ts'
import { OAUTH_ERROR_CODES } from './oauth-error.ts'

export const OAuthErrorSchema = Type.Object(
  {
    error: textEnum([...OAUTH_ERROR_CODES], { description: 'Error code' }),
    error_description: Type.String({ description: 'Explanation for the developer of the client' })
  },
  { $id: 'OAuthError', additionalProperties: false, description: 'An error of an OAuth endpoint (RFC 6749 §5.2)' }
)
