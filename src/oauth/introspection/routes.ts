import type { FastifyInstance } from 'fastify'
import { jsonResponse } from '../../admin-api/responses.ts'
import { setOutcome } from '../../http/outcome.ts'
import { sourceOf } from '../../http/source.ts'
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
import { readIssuedTokenRequest } from '../issued-tokens/request.ts'
import { type IntrospectionOptions, introspect } from './introspect.ts'
import { representIntrospection } from './representation.ts'
import { IntrospectionRequestSchema, IntrospectionResponseSchema } from './schemas.ts'

export const INTROSPECTION_PATH = `${OAUTH_PREFIX}/introspect`

/** Serves the introspection endpoint (RFC 7662 §2). Register it in a scope of OAuth endpoints. */
export async function introspectionRoutes(app: FastifyInstance, options: IntrospectionOptions): Promise<void> {
  for (const schema of [IntrospectionRequestSchema, IntrospectionResponseSchema]) app.addSchema(schema)

  app.post<{ Body: FormBody }>(
    INTROSPECTION_PATH,
    {
      schema: {
        operationId: 'introspectToken',
        summary: 'Introspect an access token',
        description:
          'Tells a resource server whether an access token is valid now (RFC 7662): grantd has issued it, it has not expired, and its registration is enabled, has not expired and has not stopped it. The caller is a registration with `mayIntrospect`. It may ask about tokens of its own Site, and about those of every Site if INTROSPECTION_SITES lists its Site. For any other caller and any other token, the answer is `{"active":false}`.',
        ...CLIENT_ENDPOINT,
        body: { $ref: 'IntrospectionRequest' },
        response: {
          200: jsonResponse(
            'Whether the token is active, and what it says',
            'IntrospectionResponse',
            NOT_STORED_HEADER
          ),
          ...oauthErrors([400, 401, 413, 429, 500, 503])
        }
      }
    },
    async (request, reply) => {
      const asked = readIssuedTokenRequest(request.headers.authorization, request.body?.form, queryOf(request))
      noteClient(request, asked.client)
      const introspection = await introspect(options, asked, sourceOf(request))
      setOutcome(
        request,
        'inactivity' in introspection ? { result: 'inactive', reason: introspection.inactivity } : { result: 'active' }
      )
      return notStored(reply, representIntrospection(introspection))
    }
  )
}
