import { hash, verify } from 'node:crypto'
import { BoundedMap } from '../../concurrency/bounded-map.ts'
import { SIGNING_ALGORITHMS } from '../../config/config.ts'
import type { KeySet } from '../../signing-keys/key-set.ts'
import { algorithmOf } from '../client-authentication/assertion-algorithms.ts'
import { hasPlainHeader } from '../client-authentication/jwt-rules.ts'
import { parseSignedJwt } from '../client-authentication/signed-jwt.ts'
import { type IssuedToken, readClaims } from './issued-token.ts'

/** Tokens whose verification is remembered, a kilobyte each. */
const MAX_REMEMBERED = 10_000

/** The algorithms that access tokens are signed with. */
const ALGORITHMS: ReadonlySet<unknown> = new Set(SIGNING_ALGORITHMS)

interface VerifiedTokensOptions {
  issuer: string
  keySet: Pick<KeySet, 'verificationKey' | 'learn'>
}

/** The tokens that a caller may ask about: its own, those of one Site, or all. */
export type Reach = { readonly clientId: string } | { readonly siteId: string } | 'every token'

/**
 * Verifies that tokens are access tokens of this service (RFC 9068 §4, RFC 8725 §3).
 *
 * A token that a caller may not ask about takes as long as one that no key has signed: one signature is verified for
 * each, every time. Only for callers that may ask about it, a verification is remembered. It spares the signature, and
 * nothing else: that the key is still published is checked each time. A token whose key is new to this instance makes it
 * read the keys again, because another instance may have signed with a key that was made a moment ago.
 */
export class VerifiedTokens {
  readonly #options: VerifiedTokensOptions
  /** By reach and digest, so that a caller never finds what another reach has left. */
  readonly #remembered = new BoundedMap<string, IssuedToken>(MAX_REMEMBERED)

  constructor(options: VerifiedTokensOptions) {
    this.#options = options
  }

  /**
   * Returns the token, if grantd has issued it and it is within this reach. It may have expired.
   *
   * @throws DatabaseUnavailable when this instance cannot read or decrypt the key that has signed the token
   */
  async find(text: string, reach: Reach): Promise<IssuedToken | undefined> {
    const id = `${nameOf(reach)} ${hash('sha256', text, 'base64url')}`
    const remembered = this.#recall(id)
    const token = remembered ?? (await this.#verify(text))
    if (token === undefined || !isWithin(reach, token)) return undefined
    if (remembered === undefined) this.#remembered.set(id, token)
    return token
  }

  #recall(id: string): IssuedToken | undefined {
    const token = this.#remembered.get(id)
    if (token === undefined || this.#options.keySet.verificationKey(token.kid) !== undefined) return token
    this.#remembered.delete(id)
    return undefined
  }

  async #verify(text: string): Promise<IssuedToken | undefined> {
    const jwt = parseSignedJwt(text)
    const algorithm = jwt && algorithmOf(jwt)
    if (jwt === undefined || algorithm === undefined || !hasPlainHeader(jwt)) return undefined
    const { typ, alg, kid } = jwt.header
    // Other algorithms of assertions are not verified: some take much longer than those of access tokens.
    if (typ !== 'at+jwt' || typeof kid !== 'string' || !ALGORITHMS.has(alg)) return undefined
    await this.#options.keySet.learn(kid)
    const published = this.#options.keySet.verificationKey(kid)
    // A key verifies by its own algorithm only, whatever the header names (RFC 8725 §3.1).
    const own = published?.algorithm === alg ? published : undefined
    const key = own?.publicKey ?? algorithm.decoy(jwt.signature.length)
    const isSigned = verify(algorithm.digest, jwt.signed, { ...algorithm.options, key }, jwt.signature)
    return isSigned && own !== undefined ? readClaims(kid, jwt, this.#options.issuer) : undefined
  }
}

function nameOf(reach: Reach): string {
  if (reach === 'every token') return reach
  return 'siteId' in reach ? `site ${reach.siteId}` : `client ${reach.clientId}`
}

function isWithin(reach: Reach, { siteId, clientId }: IssuedToken): boolean {
  if (reach === 'every token') return true
  return 'siteId' in reach ? reach.siteId === siteId : reach.clientId === clientId
}
