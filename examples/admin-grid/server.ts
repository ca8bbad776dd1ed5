import { readFile } from 'node:fs/promises'
import { createServer } from 'node:http'

/**
 * Serves the files of the grid. The page itself calls grantd, whose ADMIN_CORS_ORIGINS must have the origin of the page.
 *
 *   PORT=4200 node examples/admin-grid/server.ts
 */

const { PORT = '4200' } = process.env
const ORIGIN = `http://127.0.0.1:${PORT}`

const FILES: Record<string, { url: string; type: string }> = {
  '/': { url: import.meta.resolve('./index.html'), type: 'text/html; charset=utf-8' },
  '/grid.css': { url: import.meta.resolve('./grid.css'), type: 'text/css' },
  '/grid.js': { url: import.meta.resolve('./grid.js'), type: 'text/javascript' },
  '/openapi-fetch.js': { url: import.meta.resolve('openapi-fetch'), type: 'text/javascript' }
}
/** A page with an admin token runs its own scripts only, and stands in no frame of others. */
const POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self'; connect-src http: https:; form-action 'none'; frame-ancestors 'none'"

createServer(async (request, response) => {
  const file = FILES[request.url ?? '']
  if (file === undefined) {
    response.writeHead(404).end()
    return
  }
  response.writeHead(200, { 'content-type': file.type, 'content-security-policy': POLICY })
  response.end(await readFile(new URL(file.url)))
}).listen(Number(PORT), '127.0.0.1', () => process.stdout.write(`admin grid on ${ORIGIN}\n`))
