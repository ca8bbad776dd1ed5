import type { FastifyInstance } from 'fastify'
import { Type } from 'typebox'
import { jsonResponse } from '../admin-api/responses.ts'
import type { KeySet } from './key-set.ts'

const JwksSchema = Type.Object(
  {
    keys: Type.Array(
      Type.Object(
        {
          kty: Type.String({ description: 'Key type' }),
          kid: Type.String({ description: 'Key id: the thumbprint of the key (RFC 7638)' }),
          alg: Type.String({ description: 'Algorithm that the key signs with' }),
          use: Type.String({ description: 'Always sig' }),
          crv: Type.Optional(Type.String({ description: 'Curve (ES256, EdDSA)' })),
          x: Type.Optional(Type.String({ description: 'Public value (ES256, EdDSA)' })),
          y: Type.Optional(Type.String({ description: 'Public value (ES256)' })),
          n: Type.Optional(Type.String({ description: 'Modulus (RS256)' })),
          e: Type.Optional(Type.String({ description: 'Exponent (RS256)' }))
        },
        { additionalProperties: false }
      ),
      { description: 'Public keys' }
    )
  },
  {
    $id: 'Jwks',
    additionalProperties: false,
    description:
      'Public keys that verify access tokens (RFC 7517): of the key that signs, of the next key, and of earlier keys whose tokens are still valid'
  }
)

export const JWKS_PATH = '/.well-known/jwks.json'

/** The JWK Set: public members only. */
export async function jwksRoutes(app: FastifyInstance, { keySet }: { keySet: KeySet }): Promise<void> {
  app.addSchema(JwksSchema)
  app.get(
    JWKS_PATH,
    {
      schema: {
        operationId: 'getJwks',
        summary: 'Public keys of access tokens',
        tags: ['Discovery'],
        security: [],
        response: {
          200: jsonResponse('The keys', 'Jwks', {
            'Cache-Control': {
              type: 'string',
              description: 'How long the keys may be cached. No key that is missing in the answer signs in that time'
            }
          })
        }
      }
    },
    async (_request, reply) => {
      reply.header('cache-control', `public, max-age=${keySet.cacheSeconds()}`)
      return { keys: await keySet.published() }
    }
  )
}
