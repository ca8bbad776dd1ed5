import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { type Asset, openApiDocument, scalarScript, textAsset } from './assets.ts'
import { describeForAgents } from './llms.ts'
import { CONTENT_SECURITY_POLICY, PAGE } from './page.ts'

export const DOCS_PATH = '/docs'

/**
 * Serves `/openapi.yaml`, the same document as a page at `/docs`, and `/llms.txt`.
 *
 * @param options.issuer base of the links in `/llms.txt`
 */
export async function apiReferenceRoutes(app: FastifyInstance, { issuer }: { issuer: string }): Promise<void> {
  const schema = { hide: true }
  const description = textAsset(describeForAgents(issuer))

  app.get('/llms.txt', { schema }, async (request, reply) =>
    sendAsset(request, reply, 'text/plain; charset=utf-8', description)
  )

  app.get('/openapi.yaml', { schema }, async (request, reply) =>
    sendAsset(request, reply, 'application/yaml', await openApiDocument())
  )

  // All addresses of the page are relative, because a proxy may serve grantd under a path.
  app.get(DOCS_PATH, { schema }, async (_request, reply) => reply.redirect('docs/', 301))

  app.get(`${DOCS_PATH}/`, { schema }, async (_request, reply) =>
    reply
      .type('text/html; charset=utf-8')
      .header('cache-control', 'no-cache')
      .header('content-security-policy', CONTENT_SECURITY_POLICY)
      .send(PAGE)
  )

  app.get(`${DOCS_PATH}/js/scalar.js`, { schema }, async (request, reply) =>
    sendAsset(request, reply, 'text/javascript; charset=utf-8', await scalarScript())
  )
}

/** The browser keeps an asset and asks whether it is still current, so it never mixes two versions of grantd. */
function sendAsset(request: FastifyRequest, reply: FastifyReply, type: string, { content, etag }: Asset): FastifyReply {
  reply.header('cache-control', 'no-cache').header('etag', etag)
  // `includes`, because a proxy that compresses weakens the tag.
  if (request.headers['if-none-match']?.includes(etag)) return reply.code(304).send()
  return reply.type(type).send(content)
}
