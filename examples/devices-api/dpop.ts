import { createHash } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import { calculateJwkThumbprint, EmbeddedJWK, jwtVerify } from 'jose'

/** Algorithms of the proofs that this server accepts: those of FAPI 2.0 §5.4.1. Ed25519 signatures have two names. */
export const PROOF_ALGORITHMS = ['ES256', 'EdDSA', 'Ed25519', 'PS256']

/** A proof is accepted from 10 seconds before its `iat` until 71 seconds after it: jose rounds the time of now down. */
const MAX_AGE_SECONDS = 60
const CLOCK_TOLERANCE_SECONDS = 10
/** Longer than these 81 seconds by the time that a verification may take. */
const REMEMBERED_MS = 90_000
/** More proofs than this in that time are refused, so that memory is bounded. */
const MAX_PROOFS = 100_000
const MAX_ID_LENGTH = 255

/** Says why a proof is refused. */
export class InvalidProof extends Error {}

/**
 * Verifies DPoP proofs (RFC 9449 §4.3, §7.1): that the caller holds the key to which its access token is bound, and has made
 * the proof for this request and this token, just now.
 */
export class ProofVerifier {
  readonly #origin: string
  readonly #clock: () => number
  /** Digests of the latest proofs, with the instant at which each is forgotten. The oldest comes first. */
  readonly #seen = new Map<string, number>()

  /**
   * @param origin of this server as its callers see it. It is configured, because `Host` is what the caller likes.
   * @param clock gives milliseconds since 1970. It decides both how old a proof is and for how long it is remembered.
   */
  constructor(origin: string, clock = Date.now) {
    this.#origin = origin
    this.#clock = clock
  }

  /**
   * @param token access token of the request, which has been verified
   * @param jkt thumbprint of the key that the token is bound to, its `cnf.jkt`
   * @throws InvalidProof
   */
  async verify(request: IncomingMessage, token: string, jkt: unknown): Promise<void> {
    const [proof, ...others] = request.headersDistinct['dpop'] ?? []
    if (proof === undefined || others.length > 0) throw new InvalidProof('there must be one DPoP header')
    const now = this.#clock()
    const { payload, protectedHeader } = await verifySignature(proof, now)
    if (payload['htm'] !== request.method) throw new InvalidProof('htm is another method')
    const target = targetOf(`${this.#origin}${request.url}`)
    if (target === undefined || targetOf(payload['htu']) !== target) throw new InvalidProof('htu is another URL')
    // The token of the request, so that a proof for one token proves nothing about another.
    if (payload['ath'] !== digestOf(token)) throw new InvalidProof('ath is that of another token')
    if ((await calculateJwkThumbprint(Object(protectedHeader.jwk))) !== jkt) {
      throw new InvalidProof('the token is bound to another key')
    }
    // Last, so that only the holder of the key can use up an id or fill the memory.
    this.#useOnce(String(jkt), String(payload.jti), now)
  }

  /** Accepts each id of a key once while its proof is valid. Several processes of a server would each accept it once. */
  #useOnce(jkt: string, jti: string, now: number): void {
    for (const [id, forgottenAt] of this.#seen) {
      if (forgottenAt > now) break
      this.#seen.delete(id)
    }
    const id = digestOf(`${jkt} ${jti}`)
    if (this.#seen.has(id)) throw new InvalidProof('the proof was used before')
    if (this.#seen.size >= MAX_PROOFS) throw new InvalidProof('there are too many proofs at once')
    this.#seen.set(id, now + REMEMBERED_MS)
  }
}

/** Verifies everything about a proof that does not depend on the request. `EmbeddedJWK` takes no private key. */
async function verifySignature(proof: string, now: number) {
  try {
    const verified = await jwtVerify(proof, EmbeddedJWK, {
      typ: 'dpop+jwt',
      algorithms: PROOF_ALGORITHMS,
      requiredClaims: ['jti'],
      currentDate: new Date(now),
      maxTokenAge: MAX_AGE_SECONDS,
      clockTolerance: CLOCK_TOLERANCE_SECONDS
    })
    const { jti } = verified.payload
    if (typeof jti === 'string' && jti !== '' && jti.length <= MAX_ID_LENGTH) return verified
  } catch (error) {
    throw new InvalidProof('the proof does not verify', { cause: error })
  }
  throw new InvalidProof('jti has no form of an id')
}

/** Returns a URL as it is compared: normalised, without query and fragment (RFC 9449 §4.3). */
function targetOf(uri: unknown): string | undefined {
  if (typeof uri !== 'string' || !URL.canParse(uri)) return undefined
  const { origin, pathname } = new URL(uri)
  return origin + pathname
}

function digestOf(text: string): string {
  return createHash('sha256').update(text).digest('base64url')
}
