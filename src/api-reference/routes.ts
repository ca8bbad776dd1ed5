import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import path from 'node:path'
import type { FastifyApiReferenceOptions } from '@scalar/fastify-api-reference'
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'

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

  // Relative, as every address of the page: a proxy may serve grantd under a path of its own.
  app.get('/docs', { schema }, async (_request, reply) => reply.redirect('docs/', 301))

  app.get('/docs/', { schema }, async (_request, reply) =>
    reply
      .type('text/html; charset=utf-8')
      .header('cache-control', 'no-cache')
      .header('content-security-policy', CONTENT_SECURITY_POLICY)
      .send(PAGE)
  )

  // The library takes longer to load than all of grantd: not before somebody wants it.
  let library: Promise<Library> | undefined
  app.get('/docs/js/scalar.js', { schema }, async (request, reply) => {
    library ??= loadLibrary()
    return sendLibrary(request, reply, await library)
  })
}

interface Library {
  script: Buffer
  etag: string
}

async function loadLibrary(): Promise<Library> {
  const { default: scalar } = await import('@scalar/fastify-api-reference')
  const shelf = Fastify()
  await shelf.register(scalar, { routePrefix: '/docs', configuration: { url: CONFIGURATION.url } })
  const { rawPayload: script } = await shelf.inject('/docs/js/scalar.js')
  await shelf.close()
  return { script, etag: `"${digest(script)}"` }
}

function sendLibrary(request: FastifyRequest, reply: FastifyReply, { script, etag }: Library): FastifyReply {
  // Kept by the browser, and asked for anew: five megabytes once, and never those of an older grantd.
  reply.header('cache-control', 'no-cache').header('etag', etag)
  // Includes: a proxy that compresses makes the tag a weak one.
  if (request.headers['if-none-match']?.includes(etag)) return reply.code(304).send()
  return reply.type('text/javascript; charset=utf-8').send(script)
}

function digest(content: string | Buffer): string {
  return createHash('sha256').update(content).digest('base64')
}

/** Without what would send the reader, or the document, to the library's vendor. */
const CONFIGURATION = {
  url: '../openapi.yaml',
  documentDownloadType: 'direct',
  defaultOpenAllTags: true,
  withDefaultFonts: false,
  telemetry: false,
  agent: { disabled: true },
  mcp: { disabled: true },
  showDeveloperTools: 'never',
  hideClientButton: true,
  customCss: '.darklight-reference a { display: none }'
} satisfies FastifyApiReferenceOptions['configuration']

/**
 * Requests from the page go to the grantd that serves it: the policy allows no other.
 * `jitless` keeps the library from trying `eval`, which the policy forbids.
 */
const SCRIPT = `
      globalThis.__zod_globalConfig = { jitless: true }
      addEventListener('DOMContentLoaded', () => {
        const servers = [{ url: new URL('..', location.href).href.slice(0, -1) }]
        Scalar.createApiReference('#app', { ...${JSON.stringify(CONFIGURATION)}, servers })
      })
    `

const PAGE = `<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <title>grantd API reference</title>
    <link rel="icon" href="data:,">
    <script>${SCRIPT}</script>
    <script src="js/scalar.js" defer></script>
  </head>
  <body>
    <div id="app"></div>
  </body>
</html>
`

/** The page talks to grantd alone, and runs no script but its own. */
const CONTENT_SECURITY_POLICY = [
  "default-src 'none'",
  `script-src 'self' 'sha256-${digest(SCRIPT)}'`,
  "style-src 'unsafe-inline'",
  'img-src data:',
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'"
].join('; ')
