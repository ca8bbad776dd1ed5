import { createPrivateKey, type KeyObject } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { calculateJwkThumbprint, exportJWK, generateKeyPair, type JWK } from 'jose'
import type { Kysely } from 'kysely'
import type { SigningAlgorithm } from '../config.ts'
import { DatabaseUnavailable } from '../database/errors.ts'
import type { Database, SigningKeyTable } from '../database/schema.ts'
import { insertFirstKey, listSigningKeys } from './repository.ts'
import { openKey, sealKey } from './sealed-key.ts'

export interface SigningKey {
  kid: string
  algorithm: SigningAlgorithm
  privateKey: KeyObject
  /** The JOSE header of every access token it signs, encoded (RFC 9068 §2.1). */
  header: string
}

export interface KeySet {
  /** Signs here. */
  readonly active: SigningKey
  /** The public halves of all keys, also of those that other instances have made since. */
  readonly published: () => Promise<readonly JWK[]>
}

export interface KeyStore {
  db: Kysely<Database>
  /** 32 bytes, from KEY_ENCRYPTION_KEY. */
  sealingKey: Buffer
  algorithm: SigningAlgorithm
  /** Milliseconds since the epoch. */
  now: () => number
}

/**
 * Loads the keys, and makes the first one of the algorithm where there is none: once, over any number of instances.
 *
 * @throws Error when the key can't be opened with this sealing key; DatabaseUnavailable
 */
export async function loadKeySet(store: KeyStore): Promise<KeySet> {
  const rows = await listSigningKeys(store.db)
  if (rows.some(row => row.algorithm === store.algorithm)) return openKeySet(store, rows)
  const first = await generateRow(store)
  await store.db.transaction().execute(trx => insertFirstKey(trx, first))
  return openKeySet(store, await listSigningKeys(store.db))
}

async function openKeySet({ db, sealingKey, algorithm }: KeyStore, rows: readonly SigningKeyTable[]): Promise<KeySet> {
  const row = rows.find(candidate => candidate.algorithm === algorithm)
  if (row === undefined) throw new Error(`no signing key for ${algorithm}`)
  const privateJwk = await openKey(sealingKey, row.kid, row.private_jwe)
  return {
    active: {
      kid: row.kid,
      algorithm,
      privateKey: createPrivateKey({ key: { ...privateJwk }, format: 'jwk' }),
      header: Buffer.from(JSON.stringify({ typ: 'at+jwt', alg: algorithm, kid: row.kid })).toString('base64url')
    },
    published: publisher(db, rows)
  }
}

/** How long an instance may not know of a key that another has made, milliseconds. */
const REFRESH_INTERVAL_MS = 5_000
/** How long an answer waits for the database, milliseconds. */
const REFRESH_WAIT_MS = 500

/** Reads the keys anew now and then; while the database is away, tells what it has. */
function publisher(db: Kysely<Database>, rows: readonly SigningKeyTable[]): KeySet['published'] {
  let published = rows.map(publish)
  let refreshAt = performance.now() + REFRESH_INTERVAL_MS
  const refresh = async (): Promise<void> => {
    try {
      published = (await listSigningKeys(db)).map(publish)
    } catch (error) {
      if (!(error instanceof DatabaseUnavailable)) throw error
    }
  }
  return async () => {
    if (performance.now() >= refreshAt) {
      refreshAt = performance.now() + REFRESH_INTERVAL_MS
      await Promise.race([refresh(), sleep(REFRESH_WAIT_MS, undefined, { ref: false })])
    }
    return published
  }
}

/** Named members only: whatever else a row may come to hold stays here. */
function publish({ kid, algorithm, public_jwk: jwk }: SigningKeyTable): JWK {
  const members = { RS256: ['kty', 'n', 'e'], ES256: ['kty', 'crv', 'x', 'y'], EdDSA: ['kty', 'crv', 'x'] }[algorithm]
  return { ...Object.fromEntries(members.map(member => [member, jwk[member]])), kid, alg: algorithm, use: 'sig' }
}

async function generateRow({ sealingKey, algorithm, now }: KeyStore): Promise<SigningKeyTable> {
  const { publicKey, privateKey } = await generateKeyPair(algorithm, { extractable: true })
  const publicJwk = await exportJWK(publicKey)
  const kid = await calculateJwkThumbprint(publicJwk)
  return {
    kid,
    algorithm,
    public_jwk: { ...publicJwk },
    private_jwe: await sealKey(sealingKey, kid, await exportJWK(privateKey)),
    created_at: new Date(now())
  }
}
