import { Type } from 'typebox'

export const SecretRotationRequestSchema = Type.Object(
  {
    client_id: Type.Optional(
      Type.String({
        description: 'Client ID. Required when the client does not authenticate by the Authorization header.',
        examples: ['k3v9x2m7q1w8z5t4r6y0']
      })
    ),
    client_secret: Type.Optional(
      Type.String({
        format: 'password',
        description:
          'Current Client secret. Required when the client does not authenticate by the Authorization header.'
      })
    )
  },
  { $id: 'SecretRotationRequest', description: 'A rotation by the client itself. Unknown parameters are ignored.' }
)

export const RotatedSecretSchema = Type.Object(
  {
    client_id: Type.String({ description: 'Client ID', examples: ['k3v9x2m7q1w8z5t4r6y0'] }),
    client_secret: Type.String({
      description:
        'New Client secret. Only this answer has it, and the answer to a retry with the same Idempotency-Key.',
      examples: ['grantd_0exampleexampleexampleexampleexampleexample0AbCdEf']
    })
  },
  { $id: 'RotatedSecret', additionalProperties: false, description: 'The new Client secret of a client' }
)
