import type { FastifyApiReferenceOptions } from '@scalar/fastify-api-reference'
import { digest } from './assets.ts'

/** Leaves out everything that would send the reader or the document to the vendor of the library. */
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
 * Requests from the page go to the grantd that serves it. The policy allows no other target.
 * `jitless` keeps the library from trying `eval`, which the policy forbids.
 */
const SCRIPT = `
      globalThis.__zod_globalConfig = { jitless: true }
      addEventListener('DOMContentLoaded', () => {
        const servers = [{ url: new URL('..', location.href).href.slice(0, -1) }]
        Scalar.createApiReference('#app', { ...${JSON.stringify(CONFIGURATION)}, servers })
      })
    `

export const PAGE = `<!doctype html>
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

/** The page may only talk to grantd and only run its own scripts. */
export const CONTENT_SECURITY_POLICY = [
  "default-src 'none'",
  `script-src 'self' 'sha256-${digest(SCRIPT)}'`,
  "style-src 'unsafe-inline'",
  'img-src data:',
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'"
].join('; ')
