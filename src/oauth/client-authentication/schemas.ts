import { Type } from 'typebox'
import { textEnum } from '../../http/json-schema.ts'
import { ASSERTION_TYPE, MAX_ASSERTION_LENGTH } from './client-assertion.ts'

interface Descriptions {
  clientId: string
  clientSecret: string
  clientAssertion: string
}

/** Parameters by which a client authenticates in a form (RFC 6749 §2.3.1, RFC 7523 §2.2), for openapi.yaml. */
export function clientParameters({ clientId, clientSecret, clientAssertion }: Descriptions) {
  return {
    client_id: Type.Optional(Type.String({ description: clientId, examples: ['k3v9x2m7q1w8z5t4r6y0'] })),
    client_secret: Type.Optional(Type.String({ format: 'password', description: clientSecret })),
    client_assertion_type: Type.Optional(
      textEnum([ASSERTION_TYPE], { description: 'Required with client_assertion (RFC 7523 §2.2)' })
    ),
    client_assertion: Type.Optional(
      Type.String({
        format: 'password',
        maxLength: MAX_ASSERTION_LENGTH,
        description: clientAssertion,
        examples: ['eyJhbGciOiJFUzI1NiJ9…']
      })
    )
  }
}
