import { createServer, type ServerResponse } from 'node:http'
import { createRemoteJWKSet, errors, jwtVerify } from 'jose'

/**
 * A resource server: lists the devices of a Site for a caller with grantd's access token for that Site.
 * It fetches grantd's public keys, and never asks grantd about a token.
 *
 *   ISSUER=http://127.0.0.1:3000 PORT=4000 node examples/devices-api/server.ts
 */

const { ISSUER = 'http://127.0.0.1:3000', AUDIENCE = ISSUER, PORT = '4000' } = process.env
const keys = createRemoteJWKSet(new URL(`${ISSUER}/.well-known/jwks.json`))
const devices: Record<string, string[]> = { acme: ['boiler 1', 'boiler 2'], umbrella: ['pump'] }

createServer(async (request, response) => {
  const [, site = ''] = /^\/sites\/([^/?]+)\/devices$/.exec(request.url ?? '') ?? []
  const [, token] = /^Bearer ([\w-]+\.[\w-]+\.[\w-]+)$/.exec(request.headers.authorization ?? '') ?? []
  if (token === undefined) return refuse(response, 401, 'Bearer')
  try {
    // Type, issuer and audience all count: a JWT of this issuer for something else is no access token (RFC 9068 §4).
    const { payload } = await jwtVerify(token, keys, { typ: 'at+jwt', issuer: ISSUER, audience: AUDIENCE })
    const scopes = String(payload['scope'] ?? '').split(' ')
    if (payload['site'] !== site || !scopes.includes('devices:read')) {
      return refuse(response, 403, 'Bearer error="insufficient_scope", scope="devices:read"')
    }
    response.setHeader('content-type', 'application/json')
    response.end(JSON.stringify({ devices: devices[site] ?? [] }))
  } catch (error) {
    const isAboutTheToken = error instanceof errors.JOSEError && !(error instanceof errors.JWKSTimeout)
    refuse(response, isAboutTheToken ? 401 : 503, 'Bearer error="invalid_token"')
  }
}).listen(Number(PORT), '127.0.0.1', () => process.stdout.write(`devices API on http://127.0.0.1:${PORT}\n`))

/** RFC 6750 §3. */
function refuse(response: ServerResponse, status: number, challenge: string): void {
  response.writeHead(status, { 'www-authenticate': challenge }).end()
}
