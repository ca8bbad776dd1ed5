import type { JSONWebKeySet } from 'jose'
import { checkKeyLocation } from './key-location.ts'

/** Where the public keys of an issuer are published. */
export interface KeySource {
  issuer: string
  /** Undefined when the discovery document of the issuer names it. */
  jwksUri: string | undefined
  /** Whether its keys may come by plain http from this machine. */
  allowsLoopback: boolean
}

const FETCH_TIMEOUT_MS = 5_000

/** Discovery documents and key sets have a few kilobytes. An issuer that has gone wrong may send without end. */
const MAX_DOCUMENT_BYTES = 1_048_576

/** Makes a function that fetches the keys of an issuer, and discovers first where they are. */
export function keyFetcher(source: KeySource): () => Promise<JSONWebKeySet> {
  let discovered: string | undefined
  return async () => {
    const jwksUri = source.jwksUri ?? discovered ?? (await discoverJwksUri(source))
    // An issuer that has moved its keys is discovered again.
    discovered = undefined
    const keys = await fetchKeySet(jwksUri)
    discovered = jwksUri
    return keys
  }
}

/** Finds the JWKS by OpenID Connect Discovery 1.0 §4, or by RFC 8414 §3 when there is no such document. */
async function discoverJwksUri({ issuer, allowsLoopback }: KeySource): Promise<string> {
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
  return checkKeyLocation({ issuer, jwksUri, allowsLoopback })
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
