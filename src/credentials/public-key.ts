import { createHash, createPublicKey, type KeyObject } from 'node:crypto'
import { PRIVATE_MEMBERS } from '../crypto/private-members.ts'
import type { KeyCredential } from './credential.ts'
import { isEd25519PublicKey } from './ed25519-point.ts'

/** A JWK as a caller sends it (RFC 7517). Members that grantd does not know are ignored (RFC 7517 §4). */
export type Jwk = Readonly<Record<string, unknown>>

export interface KeyFault {
  /** Member of the JWK. Undefined for the JWK as a whole. */
  member?: string
  code: 'private_key' | 'unsupported_key' | 'weak_key' | 'invalid_value' | 'invalid_length'
  /** For people. It follows the name of the member, and repeats no value. */
  detail: string
}

/** Algorithms of the assertions that clients sign. */
export const KEY_ALGORITHMS = ['ES256', 'ES384', 'EdDSA', 'PS256', 'RS256'] as const satisfies KeyCredential['alg'][]

const MAX_JWK_BYTES = 4_096
const RSA_BITS = { min: 2_048, max: 4_096 }
/**
 * The exponent of every ordinary key, and the least that FIPS 186-5 §5.1 allows. Verifying with another one takes another
 * time than with a decoy, so the time of a refusal would reveal the client.
 */
const RSA_EXPONENT = 'AQAB'
/** A factor under this is found by trial, in half a millisecond. */
const SMALL = 1_000n

interface KeyType {
  kty: string
  crv?: string
  /** The default first. */
  algs: readonly KeyCredential['alg'][]
  /** Members of the thumbprint, in its order (RFC 7638 §3.2, RFC 8037 §2). */
  members: readonly string[]
}

const EC_MEMBERS = ['crv', 'kty', 'x', 'y']
const KEY_TYPES: readonly KeyType[] = [
  { kty: 'EC', crv: 'P-256', algs: ['ES256'], members: EC_MEMBERS },
  { kty: 'EC', crv: 'P-384', algs: ['ES384'], members: EC_MEMBERS },
  { kty: 'OKP', crv: 'Ed25519', algs: ['EdDSA'], members: ['crv', 'kty', 'x'] },
  { kty: 'RSA', algs: ['PS256', 'RS256'], members: ['e', 'kty', 'n'] }
]
const SUPPORTED = 'must be of type EC with crv P-256 or P-384, OKP with crv Ed25519, or RSA'

/**
 * Reads a public key that is to prove a client.
 *
 * @returns the credential, with the members of the thumbprint only; or every fault
 */
export function readPublicKey(jwk: Jwk): { key: KeyCredential } | { faults: KeyFault[] } {
  const type = KEY_TYPES.find(({ kty, crv }) => jwk['kty'] === kty && (crv === undefined || jwk['crv'] === crv))
  const alg = type === undefined ? undefined : algOf(jwk, type)
  const faults = [...memberFaults(jwk), ...(type === undefined ? [unsupported()] : keyFaults(jwk, type))]
  if (type === undefined || alg === undefined || faults.length > 0) return { faults }
  const members = Object.fromEntries(type.members.map(member => [member, String(jwk[member])]))
  return { key: { kind: 'key', keyId: thumbprint(members), alg, jwk: members } }
}

/** Returns the key with which signatures of the client are verified. */
export function publicKeyOf({ jwk }: KeyCredential): KeyObject {
  return createPublicKey({ key: jwk, format: 'jwk' })
}

/** RFC 7638. @param members in the order of the thumbprint */
function thumbprint(members: Record<string, string>): string {
  return createHash('sha256').update(JSON.stringify(members)).digest('base64url')
}

function algOf({ alg }: Jwk, { algs }: KeyType): KeyCredential['alg'] | undefined {
  // RFC 9864 §2.2 names EdDSA with this curve after the curve.
  if (alg === 'Ed25519') return algs.find(name => name === 'EdDSA')
  return alg === undefined ? algs[0] : algs.find(name => name === alg)
}

/** Returns what is wrong whatever the type of the key. */
function memberFaults(jwk: Jwk): KeyFault[] {
  const faults: KeyFault[] = PRIVATE_MEMBERS.filter(member => member in jwk).map(member => ({
    member,
    code: 'private_key',
    detail: 'belongs to a private key. Send the public key only, and replace this key if others may have seen it.'
  }))
  if (Buffer.byteLength(JSON.stringify(jwk)) > MAX_JWK_BYTES) {
    faults.push({ code: 'invalid_length', detail: `must have at most ${MAX_JWK_BYTES} bytes` })
  }
  if (jwk['use'] !== undefined && jwk['use'] !== 'sig') {
    faults.push({ member: 'use', code: 'invalid_value', detail: 'must be sig, or absent' })
  }
  const operations = jwk['key_ops']
  if (operations !== undefined && !(Array.isArray(operations) && operations.includes('verify'))) {
    faults.push({ member: 'key_ops', code: 'invalid_value', detail: 'must contain verify, or be absent' })
  }
  return faults
}

function unsupported(): KeyFault {
  return { code: 'unsupported_key', detail: SUPPORTED }
}

/** Returns what is wrong with a key of this type. */
function keyFaults(jwk: Jwk, type: KeyType): KeyFault[] {
  const faults: KeyFault[] = []
  if (algOf(jwk, type) === undefined) {
    faults.push({ member: 'alg', code: 'invalid_value', detail: `must be ${type.algs.join(' or ')}, or absent` })
  }
  const key = importKey(jwk, type)
  if (key === undefined) return [...faults, { code: 'invalid_value', detail: notAKey(type) }]
  const exported: Jwk = { ...key.export({ format: 'jwk' }) }
  const misspelt = type.members.filter(member => exported[member] !== jwk[member])
  for (const member of misspelt) faults.push({ member, code: 'invalid_value', detail: BASE64URL })
  if (misspelt.length > 0) return faults
  if (type.kty === 'OKP' && !isEd25519PublicKey(Buffer.from(String(jwk['x']), 'base64url'))) {
    faults.push({ member: 'x', code: 'weak_key', detail: notAKey(type) })
  }
  return type.kty === 'RSA' ? [...faults, ...rsaFaults(key)] : faults
}

const BASE64URL = 'must be base64url without padding, with exactly the bytes that RFC 7518 §6 asks for'

function notAKey({ crv }: KeyType): string {
  return crv === undefined ? 'is not an RSA key: n or e is missing or malformed' : `is not a public key on ${crv}`
}

/** Returns undefined for what is no key. OpenSSL checks that a point is on its curve P-256 or P-384. */
function importKey(jwk: Jwk, { members }: KeyType): KeyObject | undefined {
  try {
    return createPublicKey({
      key: Object.fromEntries(members.map(member => [member, jwk[member]])),
      format: 'jwk'
    })
  } catch {
    return undefined
  }
}

function rsaFaults(key: KeyObject): KeyFault[] {
  const { modulusLength = 0 } = key.asymmetricKeyDetails ?? {}
  const faults: KeyFault[] = []
  if (modulusLength < RSA_BITS.min || modulusLength > RSA_BITS.max) {
    const detail = `must have ${RSA_BITS.min} to ${RSA_BITS.max} bits`
    faults.push({ member: 'n', code: 'weak_key', detail })
  } else if (hasSmallFactor(key)) {
    faults.push({ member: 'n', code: 'weak_key', detail: 'must be the product of two large primes' })
  }
  if (key.export({ format: 'jwk' }).e !== RSA_EXPONENT) {
    faults.push({ member: 'e', code: 'weak_key', detail: `must be ${RSA_EXPONENT}, which is 65537` })
  }
  return faults
}

/** Finds moduli that were cut or made by chance. It is no test of primes. */
function hasSmallFactor(key: KeyObject): boolean {
  const modulus = BigInt(`0x${Buffer.from(key.export({ format: 'jwk' }).n ?? '', 'base64url').toString('hex')}`)
  for (let divisor = 2n; divisor < SMALL; divisor++) if (modulus % divisor === 0n) return true
  return false
}
