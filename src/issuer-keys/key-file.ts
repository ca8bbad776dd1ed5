import { createPublicKey } from 'node:crypto'
import { readFileSync, statSync } from 'node:fs'
import { createLocalJWKSet, type JSONWebKeySet, type JWK, type JWTVerifyGetKey } from 'jose'
import { PRIVATE_MEMBERS } from '../crypto/private-members.ts'
import type { IssuerLog } from './issuer-keys.ts'

/** A key set has a few kilobytes. */
export const MAX_KEY_SET_BYTES = 1_048_576

/** The keys of an issuer whose key set is a file, for an issuer that grantd cannot reach. */
export class KeyFile {
  readonly #issuer: string
  readonly #path: string
  readonly #log: IssuerLog
  #find: JWTVerifyGetKey

  /** @throws Error that says what is wrong with the file */
  constructor(issuer: string, path: string, log: IssuerLog) {
    this.#issuer = issuer
    this.#path = path
    this.#log = log
    this.#find = createLocalJWKSet(readKeyFile(path))
  }

  /** @throws JWKSNoMatchingKey for an unknown key */
  readonly find: JWTVerifyGetKey = (header, token) => this.#find(header, token)

  /** Reads the file again. The keys of a file that is wrong now do not replace the last good ones. */
  reread(): void {
    const fields = { issuer: this.#issuer, file: this.#path }
    try {
      this.#find = createLocalJWKSet(readKeyFile(this.#path))
      this.#log.info(fields, 'read the key file of an issuer again')
    } catch (error) {
      const detail = error instanceof Error ? error.message : String(error)
      this.#log.error({ ...fields, detail }, 'the key file of an issuer is wrong; its last good keys stay')
    }
  }
}

/**
 * Reads the public keys of an issuer from a file that holds a JSON Web Key Set (RFC 7517 §5).
 *
 * @throws Error whose message says what is wrong with the file, without its content
 */
export function readKeyFile(path: string): JSONWebKeySet {
  const document = parse(path, read(path))
  const keys: unknown = Object(document).keys
  if (!Array.isArray(keys)) throw new Error(`${path} has no list of keys`)
  if (keys.length === 0) throw new Error(`${path} has an empty list of keys`)
  for (const [index, key] of keys.entries()) {
    const fault = keyFault(key)
    if (fault !== undefined) throw new Error(`key ${index + 1} in ${path} ${fault}`)
  }
  return { keys: keys.map(withStandardUse) }
}

/** The bundle of a SPIFFE trust domain marks the keys of JWT-SVIDs in its own way. */
function withStandardUse(key: JWK): JWK {
  return key.use === 'jwt-svid' ? { ...key, use: 'sig' } : key
}

function read(path: string): string {
  try {
    // A device or a pipe may never end.
    const file = statSync(path)
    if (file.isFile() && file.size <= MAX_KEY_SET_BYTES) return readFileSync(path, 'utf8')
  } catch {
    throw new Error(`${path} cannot be read`)
  }
  throw new Error(`${path} is not a file of at most ${MAX_KEY_SET_BYTES} bytes`)
}

/** The error of the parser would repeat a part of the file, which may be a wrong one. */
function parse(path: string, text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    throw new Error(`${path} is not JSON`)
  }
}

function keyFault(key: JWK | null): string | undefined {
  if (typeof key !== 'object' || key === null) return 'is not a JSON Web Key'
  if (PRIVATE_MEMBERS.some(name => name in key)) return 'is private. Remove it, because grantd needs public keys only'
  try {
    createPublicKey({ key, format: 'jwk' })
    return undefined
  } catch {
    return 'is not a public key'
  }
}
