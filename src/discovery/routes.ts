import type { FastifyInstance } from 'fastify'
import { jsonResponse } from '../admin-api/responses.ts'
import type { KeySet } from '../signing-keys/key-set.ts'
import { type MetadataOptions, metadataOf, wellKnownPaths } from './metadata.ts'
import { MetadataSchema, OpenIdMetadataSchema } from './schemas.ts'

interface DiscoveryOptions extends MetadataOptions {
  keySet: Pick<KeySet, 'published'>
}

const CACHED = { 'cache-control': 'public, max-age=300' }

/** Serves the authorization server metadata, by RFC 8414 and where OpenID Connect libraries look for it. */
export async function discoveryRoutes(app: FastifyInstance, { keySet, ...options }: DiscoveryOptions): Promise<void> {
  for (const schema of [MetadataSchema, OpenIdMetadataSchema]) app.addSchema(schema)
  const metadata = metadataOf(options)
  for (const path of wellKnownPaths(options.issuer, 'oauth-authorization-server')) {
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
      async (_request, reply) => reply.headers(CACHED).send(metadata)
    )
  }
  for (const path of wellKnownPaths(options.issuer, 'openid-configuration')) {
    app.get(
      path,
      {
        schema: {
          operationId: 'getOpenIdConfiguration',
          summary: 'Get the metadata where OpenID Connect libraries look for it',
          description:
            'The authorization server metadata with the two members that verifiers of OpenID Connect require. grantd is no OpenID provider: it issues no ID tokens.',
          tags: ['Discovery'],
          security: [],
          response: { 200: jsonResponse('The metadata', 'OpenIdMetadata') }
        }
      },
      async (_request, reply) =>
        reply.headers(CACHED).send({
          ...metadata,
          subject_types_supported: ['public'],
          id_token_signing_alg_values_supported: algorithmsOf(await keySet.published())
        })
    )
  }
}

function algorithmsOf(keys: readonly { alg?: string }[]): string[] {
  return [...new Set(keys.map(({ alg }) => alg).filter(alg => alg !== undefined))]
}
