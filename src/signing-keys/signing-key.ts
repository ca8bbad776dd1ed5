import { createPrivateKey, type KeyObject } from 'node:crypto'
import { calculateJwkThumbprint, exportJWK, generateKeyPair, type JWK } from 'jose'
import type { SigningAlgorithm } from '../config/config.ts'
import type { Sealing } from '../crypto/key-encryption.ts'
import type { NewSigningKey, SigningKeyRow } from './repository.ts'

export interface SigningKey {
  kid: string
  algorithm: SigningAlgorithm
  privateKey: KeyObject
  /** The JOSE header of every access token it signs, encoded (RFC 9068 §2.1). */
  header: string
}

/** A key as this instance has opened it. */
export interface OpenedKey {
  signingKey: SigningKey
  /** Made of the private key: what else stands in the row is not published. */
  publicJwk: JWK
  /** The seal that was opened. */
  sealed: string
  /** Is that a seal of the current KEY_ENCRYPTION_KEY? */
  isCurrent: boolean
}

const PURPOSE = 'signing keys'

/** Makes a key pair, sealed for its row; its place and time are given. */
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
    private_jwe: await sealing.seal(PURPOSE, kid, JSON.stringify(await exportJWK(privateKey))),
    created_at: new Date(now),
    generation,
    signs_from: new Date(signsFrom),
    signs_until: new Date(signsUntil)
  }
}

/** @returns undefined when no KEY_ENCRYPTION_KEY of this instance has sealed it */
export async function openSigningKey(
  sealing: Sealing,
  { kid, algorithm, private_jwe: sealed }: SigningKeyRow
): Promise<OpenedKey | undefined> {
  const opened = await sealing.open(PURPOSE, kid, sealed)
  if (opened === undefined) return undefined
  const jwk: JWK = JSON.parse(opened.text)
  return {
    signingKey: {
      kid,
      algorithm,
      privateKey: createPrivateKey({ key: { ...jwk }, format: 'jwk' }),
      header: Buffer.from(JSON.stringify({ typ: 'at+jwt', alg: algorithm, kid })).toString('base64url')
    },
    publicJwk: publicHalf(kid, algorithm, jwk),
    sealed,
    isCurrent: opened.isCurrent
  }
}

/** The same private key under a seal of the current KEY_ENCRYPTION_KEY. */
export function sealAnew(sealing: Sealing, { kid, privateKey }: SigningKey): Promise<string> {
  return sealing.seal(PURPOSE, kid, JSON.stringify(privateKey.export({ format: 'jwk' })))
}

/** Named members only: the private ones stay here. */
function publicHalf(kid: string, algorithm: SigningAlgorithm, jwk: JWK): JWK {
  const members = { RS256: ['kty', 'n', 'e'], ES256: ['kty', 'crv', 'x', 'y'], EdDSA: ['kty', 'crv', 'x'] } as const
  const half = Object.fromEntries(members[algorithm].map(member => [member, jwk[member]]))
  return { ...half, kid, alg: algorithm, use: 'sig' }
}
