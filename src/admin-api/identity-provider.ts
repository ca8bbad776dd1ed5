import { createRemoteJWKSet, customFetch, errors, type JWTVerifyGetKey } from 'jose'
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
/** At least this long between two looks for an unknown `kid`. */
const COOL_DOWN_MS = 30_000
/** At least this long between a fetch that failed and the next: a flood of tokens must not become one of fetches. */
const RETRY_MS = 1_000

/** What a key set says of a token; any other error is about the provider. */
const ABOUT_THE_TOKEN = [errors.JWKSNoMatchingKey, errors.JWKSMultipleMatchingKeys, errors.JOSENotSupported]

/** A discovery document or key set is a few kilobytes; a provider that has gone wrong may send without end. */
const MAX_DOCUMENT_BYTES = 1_048_576

type Fetch = (url: string, init: RequestInit) => Promise<Response>

class FailedJustNow extends Error {}

/** The company's own identity provider. Nothing is fetched before the first token comes. */
export function trustIdentityProvider(provider: IdentityProvider): TrustedIssuer {
  let remote: Promise<JWTVerifyGetKey> | undefined
  let retryAt = 0
  const restingFetch: Fetch = async (url, init) => {
    if (performance.now() < retryAt) throw new FailedJustNow('it could not be reached a moment ago')
    return limited(await fetch(url, init))
  }
  const open = async (): Promise<JWTVerifyGetKey> => {
    remote ??= openJwks(provider, restingFetch)
    try {
      return await remote
    } catch (error) {
      remote = undefined
      throw error
    }
  }
  const keys: JWTVerifyGetKey = async (header, token) => {
    try {
      const find = await open()
      return await find(header, token)
    } catch (error) {
      if (ABOUT_THE_TOKEN.some(kind => error instanceof kind)) throw error
      if (!(error instanceof FailedJustNow)) retryAt = performance.now() + RETRY_MS
      throw new IssuerUnavailable(error)
    }
  }
  return { issuer: provider.issuer, audience: provider.audience, keys }
}

/** @throws Error when there is more of it than any such document has */
async function limited(response: Response): Promise<Response> {
  const chunks: Uint8Array[] = []
  let bytes = 0
  for await (const chunk of response.body ?? []) {
    chunks.push(chunk)
    bytes += chunk.length
    if (bytes > MAX_DOCUMENT_BYTES) throw new Error(`${response.url} sends more than a document`)
  }
  return new Response(Buffer.concat(chunks), { status: response.status })
}

async function openJwks(provider: IdentityProvider, fetch: Fetch): Promise<JWTVerifyGetKey> {
  const jwksUri = provider.jwksUri ?? (await discoverJwksUri(provider, fetch))
  return createRemoteJWKSet(new URL(jwksUri), {
    timeoutDuration: FETCH_TIMEOUT_MS,
    cooldownDuration: COOL_DOWN_MS,
    [customFetch]: fetch
  })
}

/** OpenID Connect Discovery 1.0 §4, or RFC 8414 §3 where there is no such document. */
async function discoverJwksUri({ issuer, allowsLoopback }: IdentityProvider, fetch: Fetch): Promise<string> {
  const { origin, pathname } = new URL(issuer)
  const path = pathname.replace(/\/$/, '')
  const document =
    (await fetchJson(fetch, `${origin}${path}/.well-known/openid-configuration`)) ??
    (await fetchJson(fetch, `${origin}/.well-known/oauth-authorization-server${path}`))
  if (document === undefined) throw new Error(`${issuer} has no discovery document`)
  if (document.issuer !== issuer) throw new Error(`the discovery document of ${issuer} names another issuer`)
  const jwksUri = document.jwks_uri
  if (typeof jwksUri !== 'string' || !URL.canParse(jwksUri)) throw new Error(`${issuer} publishes no jwks_uri`)
  if (!jwksUri.startsWith('https:') && !(allowsLoopback && isLoopback(jwksUri))) {
    throw new Error(`the jwks_uri of ${issuer} is not https`)
  }
  return jwksUri
}

async function fetchJson(fetch: Fetch, url: string): Promise<{ issuer?: unknown; jwks_uri?: unknown } | undefined> {
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
