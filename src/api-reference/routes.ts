import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import path from 'node:path'
import Fastify, { type FastifyInstance } from 'fastify'

const OPENAPI_FILE = path.join(import.meta.dirname, '../../openapi.yaml')

/** `/openapi.yaml`, and `/docs`: the same as a page. */
export async function apiReferenceRoutes(app: FastifyInstance): Promise<void> {
  const schema = { hide: true }

  app.get('/openapi.yaml', { schema }, async (_request, reply) =>
    reply
      .type('application/yaml')
      .header('cache-control', 'no-cache')
      .send(await readFile(OPENAPI_FILE))
  )

  // The page's library takes longer to load than all of grantd: not before somebody wants it.
  let page: Promise<FastifyInstance> | undefined
  for (const url of ['/docs', '/docs/', '/docs/js/scalar.js']) {
    app.get(url, { schema }, async (_request, reply) => {
      page ??= openPage()
      const { statusCode, headers, rawPayload } = await (await page).inject(url)
      if (typeof headers.location === 'string') return reply.redirect('/docs/', statusCode)
      return reply
        .code(statusCode)
        .type(String(headers['content-type']))
        .header('content-security-policy', contentSecurityPolicy(rawPayload.toString()))
        .send(rawPayload)
    })
  }
}

async function openPage(): Promise<FastifyInstance> {
  const { default: scalar } = await import('@scalar/fastify-api-reference')
  const page = Fastify()
  await page.register(scalar, {
    routePrefix: '/docs',
    configuration: {
      url: '/openapi.yaml',
      pageTitle: 'grantd API reference',
      withDefaultFonts: false,
      telemetry: false
    }
  })
  await page.ready()
  return page
}

/** The page talks to grantd alone, and runs no script but its own. */
function contentSecurityPolicy(html: string): string {
  const inline = [...html.matchAll(/<script type="text\/javascript">([\s\S]*?)<\/script>/g)].map(
    ([, script = '']) => `'sha256-${createHash('sha256').update(script).digest('base64')}'`
  )
  return [
    "default-src 'none'",
    ["script-src 'self'", ...inline].join(' '),
    "style-src 'self' 'unsafe-inline'",
    "img-src 'self' data:",
    "font-src 'self' data:",
    "connect-src 'self'",
    "base-uri 'none'",
    "frame-ancestors 'none'"
  ].join('; ')
}
