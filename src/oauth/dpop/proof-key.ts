import { type KeyObject, verify } from 'node:crypto'
import { BoundedMap } from '../../concurrency/bounded-map.ts'
import { publicKeyOf, readPublicKey } from '../../credentials/public-key.ts'
import { algorithmOf } from '../client-authentication/assertion-algorithms.ts'
import type { ProofFault } from '../client-authentication/credential-proof.ts'
import type { SignedJwt } from '../client-authentication/signed-jwt.ts'

/** Keys that stay imported, some kilobytes each. A client sends its key in each proof. Judging one takes up to 1 ms. */
const MAX_KEPT = 5_000
/** By algorithm and JWK, as they were sent. Only keys that are good. */
const kept = new BoundedMap<string, ProofKey>(MAX_KEPT)

/** The public key of a proof, for one algorithm. */
export class ProofKey {
  /** SHA-256 of the key (RFC 7638), which `cnf.jkt` of a bound token has. */
  readonly thumbprint: string
  readonly #key: KeyObject

  constructor(thumbprint: string, key: KeyObject) {
    this.thumbprint = thumbprint
    this.#key = key
  }

  /** Whether this key has made the signature of the proof, by the algorithm that the proof names. */
  hasSigned(proof: SignedJwt): boolean {
    const algorithm = algorithmOf(proof)
    if (algorithm === undefined) return false
    const { digest, options } = algorithm
    return verify(digest, proof.signed, { ...options, key: this.#key }, proof.signature)
  }
}

/**
 * Reads the key of a proof from its header. It is judged as the key of a registration is: public, of a supported type and
 * size, and on its curve (RFC 9449 §4.3, RFC 8725 §3.4).
 *
 * @param proof whose `alg` is supported
 */
export function readProofKey({ header: { alg, jwk } }: SignedJwt): ProofKey | { readonly fault: ProofFault } {
  const id = `${alg} ${JSON.stringify(jwk)}`
  const known = kept.get(id)
  if (known !== undefined) return known
  // An `alg` of the JWK is the only one that the key may be used with (RFC 7517 §4.4).
  const read = readPublicKey({ alg, ...Object(jwk) })
  if ('faults' in read) {
    return keyFault(read.faults.some(({ code }) => code === 'private_key') ? PRIVATE_KEY : NO_KEY)
  }
  if (read.key.alg !== nameOf(alg)) return keyFault(NO_KEY)
  const key = new ProofKey(read.key.keyId, publicKeyOf(read.key))
  kept.set(id, key)
  return key
}

/** In the registration of a key, both names of Ed25519 are one. */
function nameOf(alg: unknown): unknown {
  return alg === 'Ed25519' ? 'EdDSA' : alg
}

const PRIVATE_KEY = 'jwk has members of a private key. Send the public key only, and make a new key.'
const NO_KEY =
  'jwk must be a public key that fits alg: EC on P-256, OKP on Ed25519, or RSA of 2048 to 4096 bits with the exponent 65537.'

function keyFault(description: string): { readonly fault: ProofFault } {
  return { fault: { reason: 'dpop_key', description } }
}
