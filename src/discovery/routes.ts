import type { FastifyInstance } from 'fastify'
import { Type } from 'typebox'
import { jsonResponse } from '../admin-api/responses.ts'
import { CLIENT_AUTHENTICATION_METHODS } from '../oauth/client-authentication/methods.ts'
import { TOKEN_PATH } from '../oauth/token/routes.ts'
import { JWKS_PATH } from '../signing-keys/routes.ts'

const list = (description: string) => Type.Array(Type.String(), { description })

const MetadataSchema = Type.Object(
  {
    issuer: Type.String({ description: '`iss` of access tokens' }),
    token_endpoint: Type.String({ description: 'URL of the token endpoint' }),
    jwks_uri: Type.String({ description: 'URL of the public keys that verify access tokens' }),
    response_types_supported: list('Always empty, because grantd has no authorization endpoint'),
    grant_types_supported: list('Grant types that the token endpoint supports'),
    token_endpoint_auth_methods_supported: list('How a client can authenticate at the token endpoint'),
    service_documentation: Type.String({ description: 'URL of the API reference' })
  },
  { $id: 'Metadata', additionalProperties: false, description: 'Authorization server metadata (RFC 8414)' }
)

const METADATA_PATH = '/.well-known/oauth-authorization-server'

interface DiscoveryOptions {
  issuer: string
  /** Path of the API reference. */
  docsPath: string
}

/** Serves the authorization server metadata (RFC 8414). Its URLs come from ISSUER, never from a request. */
export async function discoveryRoutes(app: FastifyInstance, { issuer, docsPath }: DiscoveryOptions): Promise<void> {
  app.addSchema(MetadataSchema)
  const base = issuer.replace(/\/$/, '')
  const metadata = {
    issuer,
    token_endpoint: `${base}${TOKEN_PATH}`,
    jwks_uri: `${base}${JWKS_PATH}`,
    response_types_supported: [],
    grant_types_supported: ['client_credentials'],
    token_endpoint_auth_methods_supported: CLIENT_AUTHENTICATION_METHODS.map(({ name }) => name),
    service_documentation: `${base}${docsPath}`
  }
  // The metadata of an issuer with a path is at the well-known path followed by that path (RFC 8414 §3.1).
  const paths = new Set([METADATA_PATH, METADATA_PATH + new URL(base).pathname.replace(/\/$/, '')])
  for (const path of paths) {
    app.get(
      path,
      {
        schema: {
          operationId: 'getMetadata',
          summary: 'Get the authorization server metadata',
          description: 'Describes the token endpoint, the keys and the supported features (RFC 8414).',
          tags: ['Discovery'],
          security: [],
          response: { 200: jsonResponse('The metadata', 'Metadata') }
        }
      },
      async (_request, reply) => reply.header('cache-control', 'public, max-age=300').send(metadata)
    )
  }
}
