import type { FastifyInstance } from 'fastify'
import { Type } from 'typebox'
import { answer } from '../admin-api/responses.ts'

const list = (description: string) => Type.Array(Type.String(), { description })

const MetadataSchema = Type.Object(
  {
    issuer: Type.String({ description: '`iss` of access tokens' }),
    token_endpoint: Type.String({ description: 'Where to exchange credentials' }),
    jwks_uri: Type.String({ description: 'Public keys of access tokens' }),
    response_types_supported: list('Empty: there is no authorization endpoint'),
    grant_types_supported: list('client_credentials'),
    token_endpoint_auth_methods_supported: list('client_secret_basic and client_secret_post'),
    service_documentation: Type.String({ description: 'API reference' })
  },
  { $id: 'Metadata', additionalProperties: false, description: 'Authorization server metadata (RFC 8414)' }
)

const METADATA_PATH = '/.well-known/oauth-authorization-server'

/** Authorization server metadata (RFC 8414): what works, and nothing else; URLs from configuration alone. */
export async function discoveryRoutes(app: FastifyInstance, { issuer }: { issuer: string }): Promise<void> {
  app.addSchema(MetadataSchema)
  const base = issuer.replace(/\/$/, '')
  const metadata = {
    issuer,
    token_endpoint: `${base}/oauth/token`,
    jwks_uri: `${base}/.well-known/jwks.json`,
    response_types_supported: [],
    grant_types_supported: ['client_credentials'],
    token_endpoint_auth_methods_supported: ['client_secret_basic', 'client_secret_post'],
    service_documentation: `${base}/docs`
  }
  // An issuer with a path has its metadata under the well-known path with that path behind it (RFC 8414 §3.1).
  const paths = new Set([METADATA_PATH, METADATA_PATH + new URL(base).pathname.replace(/\/$/, '')])
  for (const path of paths) {
    app.get(
      path,
      {
        schema: {
          operationId: 'getMetadata',
          summary: 'Authorization server metadata',
          tags: ['Discovery'],
          security: [],
          response: { 200: answer('The metadata', 'Metadata') }
        }
      },
      async (_request, reply) => reply.header('cache-control', 'public, max-age=300').send(metadata)
    )
  }
}
