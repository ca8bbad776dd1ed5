import { createServer, type ServerResponse } from 'node:http'
import { createRemoteJWKSet, errors, jwtVerify } from 'jose'
import { InvalidProof, PROOF_ALGORITHMS, ProofVerifier } from './dpop.ts'

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
  bearer_methods_supported: ['header'],
  dpop_signing_alg_values_supported: PROOF_ALGORITHMS
}
const { origin, pathname } = new URL(AUDIENCE)
const metadataPath = `/.well-known/oauth-protected-resource${pathname.replace(/\/$/, '')}`
const proofs = new ProofVerifier(origin)
/** Errors that say nothing about the token: the keys could not be fetched. */
const keyErrors = ['ERR_JOSE_GENERIC', 'ERR_JWKS_TIMEOUT', 'ERR_JWKS_INVALID']

createServer(async (request, response) => {
  const [path = ''] = (request.url ?? '').split('?')
  if (path === metadataPath) return sendJson(response, metadata)
  const [, site = ''] = /^\/sites\/([^/]+)\/devices$/.exec(path) ?? []
  const { scheme, token } = readAuthorization(request.headers.authorization)
  if (token === undefined) return challenge(response, 401)
  try {
    // Type, issuer and audience all count: a token for another resource server is none for this one (RFC 9068 §4).
    const { payload } = await jwtVerify(token, keys, { typ: 'at+jwt', issuer: ISSUER, audience: AUDIENCE })
    // A bound token comes under the scheme DPoP with a proof, and no other token does (RFC 9449 §7.1, §7.2).
    const isBound = payload['cnf'] !== undefined
    if (isBound !== (scheme === 'dpop')) return challenge(response, 401, scheme, 'invalid_token')
    if (isBound) await proofs.verify(request, token, Object(payload['cnf']).jkt)
    const scopes = String(payload['scope'] ?? '').split(' ')
    if (payload['site'] !== site || !scopes.includes('devices:read')) {
      return challenge(response, 403, scheme, 'insufficient_scope', 'devices:read')
    }
    sendJson(response, { devices: devices[site] ?? [] })
  } catch (error) {
    const isAboutTheToken = error instanceof errors.JOSEError && !keyErrors.includes(error.code)
    if (error instanceof InvalidProof) challenge(response, 401, scheme, 'invalid_dpop_proof')
    else if (isAboutTheToken) challenge(response, 401, scheme, 'invalid_token')
    else response.writeHead(503).end()
  }
}).listen(Number(PORT), '127.0.0.1', () => process.stdout.write(`devices API on http://127.0.0.1:${PORT}\n`))

/** Names of schemes are case-insensitive (RFC 9110 §11.1). */
function readAuthorization(value = ''): { scheme: string; token: string | undefined } {
  const [, scheme = '', token] = /^(bearer|dpop) +([\w-]+\.[\w-]+\.[\w-]+)$/i.exec(value) ?? []
  return { scheme: scheme.toLowerCase(), token }
}

function sendJson(response: ServerResponse, body: object): void {
  response.setHeader('content-type', 'application/json')
  response.end(JSON.stringify(body))
}

/**
 * Refuses by RFC 6750 §3 and RFC 9449 §7.1, with a challenge for each scheme. The one that the caller used says why. Both
 * name the metadata of this server (RFC 9728 §5.1).
 */
function challenge(response: ServerResponse, status: number, used = '', error?: string, scope?: string): void {
  const challenges = ['Bearer', 'DPoP'].map(scheme => {
    const isUsed = scheme.toLowerCase() === used
    const parameters = {
      error: isUsed ? error : undefined,
      scope: isUsed ? scope : undefined,
      algs: scheme === 'DPoP' ? PROOF_ALGORITHMS.join(' ') : undefined,
      resource_metadata: `${origin}${metadataPath}`
    }
    const told = Object.entries(parameters).filter(([, value]) => value !== undefined)
    return `${scheme} ${told.map(([name, value]) => `${name}="${value}"`).join(', ')}`
  })
  response.writeHead(status, { 'www-authenticate': challenges }).end()
}
