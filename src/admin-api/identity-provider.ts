import type { JSONWebKeySet } from 'jose'
import { isLoopback } from '../http/loopback.ts'
import type { TrustedIssuer } from './admin-token.ts'
import { ProviderKeys, type ProviderLog } from './provider-keys.ts'

interface IdentityProvider {
  issuer: string
  audience: string
  /** Undefined when the discovery document of the issuer names it. */
  jwksUri: string | undefined
  /** Whether its keys may come by plain http from this machine. */
  allowsLoopback: boolean
}

const FETCH_TIMEOUT_MS = 5_000

/** Discovery documents and key sets have a few kilobytes. A provider that has gone wrong may send without end. */
const MAX_DOCUMENT_BYTES = 1_048_576

/** Trusts the company's identity provider. Nothing is fetched before the first token comes. */
export function trustIdentityProvider(provider: IdentityProvider, log: ProviderLog): TrustedIssuer {
  let discovered: string | undefined
  const fetchKeys = async (): Promise<JSONWebKeySet> => {
    const jwksUri = provider.jwksUri ?? discovered ?? (await discoverJwksUri(provider))
    // A provider that has moved its keys is discovered again.
    discovered = undefined
    const keys = await fetchKeySet(jwksUri)
    discovered = jwksUri
    return keys
  }
  const { find: keys } = new ProviderKeys({ fetchKeys, log })
  return { issuer: provider.issuer, audience: provider.audience, keys }
}

/** Finds the JWKS by OpenID Connect Discovery 1.0 §4, or by RFC 8414 §3 when there is no such document. */
async function discoverJwksUri({ issuer, allowsLoopback }: IdentityProvider): Promise<string> {
  const { origin, pathname } = new URL(issuer)
  const path = pathname.replace(/\/$/, '')
  const document =
    (await fetchJson(`${origin}${path}/.well-known/openid-configuration`)) ??
    (await fetchJson(`${origin}/.well-known/oauth-authorization-server${path}`))
  if (document === undefined) throw new Error(`${issuer} has no discovery document`)
  if (!('issuer' in document) || document.issuer !== issuer) {
    throw new Error(`the discovery document of ${issuer} names another issuer`)
  }
  const jwksUri = 'jwks_uri' in document ? document.jwks_uri : undefined
  if (typeof jwksUri !== 'string' || !URL.canParse(jwksUri)) throw new Error(`${issuer} publishes no jwks_uri`)
  if (!jwksUri.startsWith('https:') && !(allowsLoopback && isLoopback(jwksUri))) {
    throw new Error(`the jwks_uri of ${issuer} is not https`)
  }
  return jwksUri
}

async function fetchKeySet(jwksUri: string): Promise<JSONWebKeySet> {
  const document = await fetchJson(jwksUri)
  const keys = document !== undefined && 'keys' in document ? document.keys : undefined
  if (!Array.isArray(keys)) throw new Error(`${jwksUri} is not a JSON Web Key Set`)
  return { keys }
}

/** @returns undefined when there is no such document */
async function fetchJson(url: string): Promise<object | undefined> {
  const response = await fetch(url, {
    redirect: 'error',
    headers: { accept: 'application/json' },
    signal: AbortSignal.timeout(FETCH_TIMEOUT_MS)
  })
  if (response.status === 404) return undefined
  if (!response.ok) throw new Error(`${url} answers ${response.status}`)
  const document: unknown = JSON.parse(await readBounded(response))
  return typeof document === 'object' && document !== null ? document : undefined
}

async function readBounded({ body, url }: Response): Promise<string> {
  const chunks: Uint8Array[] = []
  let bytes = 0
  for await (const chunk of body ?? []) {
    chunks.push(chunk)
    bytes += chunk.length
    if (bytes > MAX_DOCUMENT_BYTES) throw new Error(`${url} sends more than ${MAX_DOCUMENT_BYTES} bytes`)
  }
  return Buffer.concat(chunks).toString()
}
