import {
  constants,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  type VerifyKeyObjectInput
} from 'node:crypto'
import type { KeyCredential } from '../../credentials/credential.ts'
import type { SignedJwt } from './signed-jwt.ts'

/** An algorithm, with what node:crypto needs to verify by it. */
export interface Algorithm {
  /** Its name in the registration of a key. */
  alg: KeyCredential['alg']
  digest: 'sha256' | 'sha384' | null
  options: Omit<VerifyKeyObjectInput, 'key'>
  /** Length of a signature. An RSA signature is as long as the modulus of its key. */
  signatureBytes: { min: number; max: number }
  /** Returns a key that has signed nothing, for signatures of this length. */
  decoy: (bytes: number) => KeyObject
}

/** 2,048 to 4,096 bits. */
const RSA_BYTES = { min: 256, max: 512 }

/** By their length in bytes. */
const rsaDecoys = new Map<number, KeyObject>()

const ED25519: Algorithm = {
  alg: 'EdDSA',
  digest: null,
  options: {},
  signatureBytes: { min: 64, max: 64 },
  decoy: constantly(generateKeyPairSync('ed25519').publicKey)
}

/**
 * The algorithms of assertions. ECDSA signatures are r and s side by side, never DER (RFC 7518 §3.4). Ed25519 signatures
 * have two names (RFC 8037 §3.1, RFC 9864 §2.2). The salt of PS256 has the length of the digest (RFC 7518 §3.5).
 */
const ALGORITHMS: ReadonlyMap<unknown, Algorithm> = new Map([
  ['ES256', ecdsa('ES256', 'sha256', 'P-256', 64)],
  ['ES384', ecdsa('ES384', 'sha384', 'P-384', 96)],
  ['EdDSA', ED25519],
  ['Ed25519', ED25519],
  ['PS256', rsa('PS256', { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_DIGEST })],
  ['RS256', rsa('RS256', { padding: constants.RSA_PKCS1_PADDING })]
])

/** Values of `alg` that an assertion may have. */
export const ASSERTION_ALGORITHMS = [...ALGORITHMS.keys()].map(String)

/** Returns the algorithm that an assertion names, if its signature has the length of that algorithm. */
export function algorithmOf({ header, signature }: SignedJwt): Algorithm | undefined {
  const algorithm = ALGORITHMS.get(header['alg'])
  if (algorithm === undefined) return undefined
  const { min, max } = algorithm.signatureBytes
  return signature.length >= min && signature.length <= max ? algorithm : undefined
}

function ecdsa(alg: 'ES256' | 'ES384', digest: 'sha256' | 'sha384', namedCurve: string, bytes: number): Algorithm {
  return {
    alg,
    digest,
    options: { dsaEncoding: 'ieee-p1363' },
    signatureBytes: { min: bytes, max: bytes },
    decoy: constantly(generateKeyPairSync('ec', { namedCurve }).publicKey)
  }
}

function rsa(alg: 'PS256' | 'RS256', options: Algorithm['options']): Algorithm {
  return { alg, digest: 'sha256', options, signatureBytes: RSA_BYTES, decoy: rsaDecoy }
}

/**
 * Returns an RSA key of this length. Its modulus is odd and random, not a product of two primes: the work of verifying is
 * the same. It begins with ones, so that it is greater than a signature.
 */
function rsaDecoy(bytes: number): KeyObject {
  const known = rsaDecoys.get(bytes)
  if (known !== undefined) return known
  const modulus = randomBytes(bytes)
    .fill(0xff, 0, 8)
    .fill(0xff, bytes - 1)
  const jwk = { kty: 'RSA', n: modulus.toString('base64url'), e: 'AQAB' }
  const decoy = createPublicKey({ key: jwk, format: 'jwk' })
  rsaDecoys.set(bytes, decoy)
  return decoy
}

function constantly(key: KeyObject): () => KeyObject {
  return () => key
}
