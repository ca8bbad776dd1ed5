import type { FastifyInstance } from 'fastify'
import type { Static } from 'typebox'
import { publicContextOf } from '../../admin-api/audit-context.ts'
import { jsonResponse } from '../../admin-api/responses.ts'
import { hangUpSignal } from '../../http/hang-up.ts'
import { IdempotencyKey } from '../../registrations/idempotency/schemas.ts'
import { readClient } from '../client-authentication/methods.ts'
import {
  CLIENT_ENDPOINT,
  type FormBody,
  NOT_STORED_HEADER,
  noteClient,
  notStored,
  OAUTH_PREFIX,
  oauthErrors,
  queryOf
} from '../endpoint-scope.ts'
import { invalidTokenRequest } from '../oauth-error.ts'
import { readParameters, refuseOAuthParameters } from '../token/request.ts'
import { RotatedSecretSchema, SecretRotationRequestSchema } from './schemas.ts'
import { rotateOwnSecret, type SelfRotationOptions } from './self-rotation.ts'

export const SECRET_PATH = `${OAUTH_PREFIX}/secret`

/** Lets clients rotate their own secret. Register it in a scope of OAuth endpoints. */
export async function selfRotationRoutes(app: FastifyInstance, options: SelfRotationOptions): Promise<void> {
  for (const schema of [SecretRotationRequestSchema, RotatedSecretSchema]) app.addSchema(schema)

  app.post<{ Body: FormBody; Headers: Static<typeof IdempotencyKey> }>(
    SECRET_PATH,
    {
      schema: {
        operationId: 'rotateOwnSecret',
        summary: "Rotate the client's own secret",
        description:
          'Exchanges the current Client secret for a new one, at most once an hour, if the registration has `selfRotation`. The old secret is accepted for a day more. The expiry does not move. The Site gets a notice. A retry with the same Idempotency-Key and secret gets the same answer for 10 minutes.',
        ...CLIENT_ENDPOINT,
        headers: IdempotencyKey,
        body: { $ref: 'SecretRotationRequest' },
        response: {
          200: jsonResponse('The new Client secret', 'RotatedSecret', NOT_STORED_HEADER),
          ...oauthErrors([400, 401, 403, 413, 429, 500, 503], {
            429: 'slow_down: too many failures from this source for this client, or a rotation within an hour'
          })
        }
      }
    },
    async (request, reply) => {
      refuseOAuthParameters(queryOf(request))
      const client = readClient(request.headers.authorization, readParameters(request.body?.form))
      noteClient(request, client)
      const rotated = await rotateOwnSecret(options, client, publicContextOf(request, 'client', options.issuer), {
        idempotencyKey: readIdempotencyKey(request.headers['idempotency-key']),
        signal: hangUpSignal(reply)
      })
      return notStored(reply, { client_id: rotated.clientId, client_secret: rotated.clientSecret })
    }
  )
}

/** The validator of OAuth endpoints is off. */
function readIdempotencyKey(key: string | undefined): string | undefined {
  if (key === undefined || /^[!-~]{16,255}$/.test(key)) return key
  throw invalidTokenRequest('Idempotency-Key must have 16 to 255 visible ASCII characters.', 'idempotency_key')
}
