import { createRemoteJWKSet, errors, type JWTVerifyGetKey } from 'jose'
import { isLoopback } from '../http/loopback.ts'
import { IssuerUnavailable, type TrustedIssuer } from './admin-token.ts'

interface IdentityProvider {
  issuer: string
  audience: string
  /** Undefined: the issuer's discovery document names it. */
  jwksUri: string | undefined
  /** May its keys come by plain http from this machine? */
  allowsLoopback: boolean
}

const FETCH_TIMEOUT_MS = 5_000
/** At least this long between two looks for an unknown `kid`, or two tries to reach the provider. */
const COOL_DOWN_MS = 30_000
const RETRY_MS = 1_000

/** What a key set says of a token; any other error is about the provider. */
const ABOUT_THE_TOKEN = [errors.JWKSNoMatchingKey, errors.JWKSMultipleMatchingKeys, errors.JOSENotSupported]

/** The company's own identity provider. Nothing is fetched before the first token comes. */
export function trustIdentityProvider(provider: IdentityProvider): TrustedIssuer {
  let remote: Promise<JWTVerifyGetKey> | undefined
  let retryAt = 0
  const open = async (): Promise<JWTVerifyGetKey> => {
    if (remote === undefined && performance.now() < retryAt) throw new Error('it could not be reached a moment ago')
    remote ??= openJwks(provider)
    try {
      return await remote
    } catch (error) {
      remote = undefined
      retryAt = performance.now() + RETRY_MS
      throw error
    }
  }
  const keys: JWTVerifyGetKey = async (header, token) => {
    try {
      const find = await open()
      return await find(header, token)
    } catch (error) {
      throw ABOUT_THE_TOKEN.some(kind => error instanceof kind) ? error : new IssuerUnavailable(error)
    }
  }
  return { issuer: provider.issuer, audience: provider.audience, keys }
}

async function openJwks(provider: IdentityProvider): Promise<JWTVerifyGetKey> {
  const jwksUri = provider.jwksUri ?? (await discoverJwksUri(provider))
  return createRemoteJWKSet(new URL(jwksUri), { timeoutDuration: FETCH_TIMEOUT_MS, cooldownDuration: COOL_DOWN_MS })
}

/** OpenID Connect Discovery 1.0 §4, or RFC 8414 §3 where there is no such document. */
async function discoverJwksUri({ issuer, allowsLoopback }: IdentityProvider): Promise<string> {
  const { origin, pathname } = new URL(issuer)
  const path = pathname.replace(/\/$/, '')
  const document =
    (await fetchJson(`${origin}${path}/.well-known/openid-configuration`)) ??
    (await fetchJson(`${origin}/.well-known/oauth-authorization-server${path}`))
  if (document === undefined) throw new Error(`${issuer} has no discovery document`)
  if (document.issuer !== issuer) throw new Error(`the discovery document of ${issuer} names another issuer`)
  const jwksUri = document.jwks_uri
  if (typeof jwksUri !== 'string' || !URL.canParse(jwksUri)) throw new Error(`${issuer} publishes no jwks_uri`)
  if (!jwksUri.startsWith('https:') && !(allowsLoopback && isLoopback(jwksUri))) {
    throw new Error(`the jwks_uri of ${issuer} is not https`)
  }
  return jwksUri
}

async function fetchJson(url: string): Promise<{ issuer?: unknown; jwks_uri?: unknown } | undefined> {
  const response = await fetch(url, {
    redirect: 'error',
    headers: { accept: 'application/json' },
    signal: AbortSignal.timeout(FETCH_TIMEOUT_MS)
  })
  if (response.status === 404) return undefined
  if (!response.ok) throw new Error(`${url} answers ${response.status}`)
  const document: unknown = await response.json()
  return typeof document === 'object' && document !== null ? document : undefined
}
