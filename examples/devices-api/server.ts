import { createServer, type ServerResponse } from 'node:http'
import { createRemoteJWKSet, errors, jwtVerify } from 'jose'

/**
 * A resource server: lists the devices of a Site for a caller with grantd's access token for that Site and this server.
 * It fetches grantd's public keys, and never asks grantd about a token.
 *
 *   ISSUER=http://127.0.0.1:3000 PORT=4000 node examples/devices-api/server.ts
 */

const { ISSUER = 'http://127.0.0.1:3000', PORT = '4000', AUDIENCE = `http://127.0.0.1:${PORT}` } = process.env
const keys = createRemoteJWKSet(new URL(`${ISSUER}/.well-known/jwks.json`))
const devices: Record<string, string[]> = { acme: ['boiler 1', 'boiler 2'], umbrella: ['pump'] }

/** Protected resource metadata (RFC 9728): a client learns where it gets tokens, and what it asks for. */
const metadata = {
  resource: AUDIENCE,
  authorization_servers: [ISSUER],
  scopes_supported: ['devices:read'],
  bearer_methods_supported: ['header']
}
const { origin, pathname } = new URL(AUDIENCE)
const metadataPath = `/.well-known/oauth-protected-resource${pathname.replace(/\/$/, '')}`

createServer(async (request, response) => {
  if (request.url === metadataPath) return sendJson(response, metadata)
  const [, site = ''] = /^\/sites\/([^/?]+)\/devices$/.exec(request.url ?? '') ?? []
  const [, token] = /^Bearer ([\w-]+\.[\w-]+\.[\w-]+)$/.exec(request.headers.authorization ?? '') ?? []
  if (token === undefined) return challenge(response, 401)
  try {
    // Type, issuer and audience all count: a token for another resource server is none for this one (RFC 9068 §4).
    const { payload } = await jwtVerify(token, keys, { typ: 'at+jwt', issuer: ISSUER, audience: AUDIENCE })
    const scopes = String(payload['scope'] ?? '').split(' ')
    if (payload['site'] !== site || !scopes.includes('devices:read')) {
      return challenge(response, 403, 'error="insufficient_scope"', 'scope="devices:read"')
    }
    sendJson(response, { devices: devices[site] ?? [] })
  } catch (error) {
    const isAboutTheToken = error instanceof errors.JOSEError && !(error instanceof errors.JWKSTimeout)
    if (isAboutTheToken) challenge(response, 401, 'error="invalid_token"')
    else response.writeHead(503).end()
  }
}).listen(Number(PORT), '127.0.0.1', () => process.stdout.write(`devices API on http://127.0.0.1:${PORT}\n`))

function sendJson(response: ServerResponse, body: object): void {
  response.setHeader('content-type', 'application/json')
  response.end(JSON.stringify(body))
}

/** Refuses by RFC 6750 §3. The challenge names the metadata of this server (RFC 9728 §5.1). */
function challenge(response: ServerResponse, status: number, ...parameters: string[]): void {
  const all = [...parameters, `resource_metadata="${origin}${metadataPath}"`]
  response.writeHead(status, { 'www-authenticate': `Bearer ${all.join(', ')}` }).end()
}
