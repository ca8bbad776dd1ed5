import { createHash, createHmac, createPrivateKey, createPublicKey, type KeyObject } from 'node:crypto'
import { calculateJwkThumbprint, exportJWK, generateKeyPair, type JWK } from 'jose'
import type { SigningAlgorithm } from '../config/config.ts'
import type { Sealing } from '../crypto/key-encryption.ts'
import type { NewSigningKey, SigningKeyRow } from './repository.ts'

export interface SigningKey {
  kid: string
  algorithm: SigningAlgorithm
  privateKey: KeyObject
  /** The encoded JOSE header of every access token that it signs (RFC 9068 §2.1). */
  header: string
}

/** The public half of a signing key, with the only algorithm that it verifies. */
export interface VerificationKey {
  algorithm: SigningAlgorithm
  publicKey: KeyObject
}

/** A key that this instance could decrypt. */
export interface OpenedKey {
  signingKey: SigningKey
  verificationKey: VerificationKey
  /** Derived from the private key, so that the public half in the row is never published. */
  publicJwk: JWK
  /** The private key as it is encrypted in the row. */
  encrypted: string
  /** Shows the database that this instance has the KEY_ENCRYPTION_KEY of the key. */
  proof: Buffer
  /** Whether the current KEY_ENCRYPTION_KEY encrypted it, not the previous one. */
  isCurrent: boolean
}

/** An encrypted private key, with the hash of its proof. */
export type EncryptedKey = Pick<NewSigningKey, 'private_jwe' | 'proof_hash'>

const PURPOSE = 'signing keys'
const PROOF_PURPOSE = 'signing key proofs'

/** Generates a key pair with the given place and times, encrypted for its row. */
export async function generateSigningKey(
  sealing: Sealing,
  algorithm: SigningAlgorithm,
  { generation, signsFrom, signsUntil }: { generation: number; signsFrom: number; signsUntil: number },
  now: number
): Promise<NewSigningKey> {
  const { publicKey, privateKey } = await generateKeyPair(algorithm, { extractable: true })
  const publicJwk = await exportJWK(publicKey)
  const kid = await calculateJwkThumbprint(publicJwk)
  return {
    kid,
    algorithm,
    public_jwk: { ...publicJwk },
    ...(await encrypt(sealing, kid, await exportJWK(privateKey))),
    created_at: new Date(now),
    generation,
    signs_from: new Date(signsFrom),
    signs_until: new Date(signsUntil)
  }
}

/** Decrypts a key. Returns undefined when no KEY_ENCRYPTION_KEY of this instance has encrypted it. */
export async function openSigningKey(
  sealing: Sealing,
  { kid, algorithm, private_jwe: encrypted }: SigningKeyRow
): Promise<OpenedKey | undefined> {
  const opened = await sealing.open(PURPOSE, kid, encrypted)
  if (opened === undefined) return undefined
  const jwk: JWK = JSON.parse(opened.text)
  const [current, previous = current] = sealing.keys(PROOF_PURPOSE)
  const privateKey = createPrivateKey({ key: { ...jwk }, format: 'jwk' })
  return {
    signingKey: {
      kid,
      algorithm,
      privateKey,
      header: Buffer.from(JSON.stringify({ typ: 'at+jwt', alg: algorithm, kid })).toString('base64url')
    },
    verificationKey: { algorithm, publicKey: createPublicKey(privateKey) },
    publicJwk: publicHalf(kid, algorithm, jwk),
    encrypted,
    proof: proofOf(opened.isCurrent ? current : previous, encrypted),
    isCurrent: opened.isCurrent
  }
}

/** Encrypts the same private key under the current KEY_ENCRYPTION_KEY. */
export function reencrypt(sealing: Sealing, { kid, privateKey }: SigningKey): Promise<EncryptedKey> {
  return encrypt(sealing, kid, privateKey.export({ format: 'jwk' }))
}

async function encrypt(sealing: Sealing, kid: string, jwk: JWK): Promise<EncryptedKey> {
  const encrypted = await sealing.seal(PURPOSE, kid, JSON.stringify(jwk))
  const [key] = sealing.keys(PROOF_PURPOSE)
  return { private_jwe: encrypted, proof_hash: createHash('sha256').update(proofOf(key, encrypted)).digest() }
}

/** Changes with each encryption, so that a proof that was shown once is worth nothing later. */
function proofOf(key: Buffer, encrypted: string): Buffer {
  return createHmac('sha256', key).update(encrypted).digest()
}

/** Lists the public members by name, so that no private one can be published. */
function publicHalf(kid: string, algorithm: SigningAlgorithm, jwk: JWK): JWK {
  const members = { RS256: ['kty', 'n', 'e'], ES256: ['kty', 'crv', 'x', 'y'], EdDSA: ['kty', 'crv', 'x'] } as const
  const half = Object.fromEntries(members[algorithm].map(member => [member, jwk[member]]))
  return { ...half, kid, alg: algorithm, use: 'sig' }
}
