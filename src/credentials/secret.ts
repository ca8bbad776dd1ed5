import { randomBytes } from 'node:crypto'
import { crc32 } from 'node:zlib'
import { hash, verify } from '@node-rs/argon2'

/** 256 random bits cannot be guessed. Rate limits protect cost, not secrecy. */
const CLIENT_SECRET_BYTES = 32
/** 62^43 > 2^256. */
const RANDOM_LENGTH = 43
/** 62^6 > 2^32, a CRC-32. */
const CHECKSUM_LENGTH = 6

/**
 * OWASP's first choice for Argon2id: 19 MiB, two passes, one lane; about 10 ms of a core.
 * The library's default algorithm is Argon2id.
 */
const ARGON2 = { memoryCost: 19_456, timeCost: 2, parallelism: 1 } as const
/** Defaults of the library. */
const SALT_BYTES = 16
const HASH_BYTES = 32

/**
 * Creates a Client secret: `prefix`, 256 random bits in base62, and a checksum of both.
 * The prefix and the checksum let secret scanners find one, and let junk be refused without a look-up.
 */
export function createClientSecret(prefix: string): string {
  const number = BigInt(`0x${randomBytes(CLIENT_SECRET_BYTES).toString('hex')}`)
  const body = prefix + base62(number, RANDOM_LENGTH)
  return body + checksum(body)
}

/**
 * Whether grantd can have created this text as a secret, under any prefix. The result and its time depend on the text
 * only, so that they reveal nothing about registrations.
 */
export function isWellFormedSecret(text: string): boolean {
  if (!/^[A-Za-z][A-Za-z0-9_]{5,31}[A-Za-z0-9]{49}$/.test(text)) return false
  const body = text.slice(0, -CHECKSUM_LENGTH)
  return checksum(body) === text.slice(-CHECKSUM_LENGTH)
}

/** Hashes a secret with Argon2id. @returns the PHC string format, with a random salt */
export function hashClientSecret(secret: string): Promise<string> {
  return hash(secret, ARGON2)
}

/** Returns a hash of nothing, in the form of the others, so that it takes as long to verify. */
export function createUnknownHash(): string {
  const { memoryCost, timeCost, parallelism } = ARGON2
  const random = (bytes: number) => randomBytes(bytes).toString('base64').replaceAll('=', '')
  return `$argon2id$v=19$m=${memoryCost},t=${timeCost},p=${parallelism}$${random(SALT_BYTES)}$${random(HASH_BYTES)}`
}

/** Verifies a secret by its Argon2id hash, in about 10 ms of a core. */
export function verifyClientSecret(secret: string, storedHash: string): Promise<boolean> {
  return verify(storedHash, secret)
}

const DIGITS = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'

function base62(number: bigint, length: number): string {
  let text = ''
  for (let rest = number; text.length < length; rest /= 62n) text = (DIGITS[Number(rest % 62n)] ?? '') + text
  return text
}

/** Every exchange computes one, with numbers rather than BigInt, which takes ten times as long. */
function checksum(body: string): string {
  let text = ''
  for (let rest = crc32(body); text.length < CHECKSUM_LENGTH; rest = Math.floor(rest / 62)) {
    text = (DIGITS[rest % 62] ?? '') + text
  }
  return text
}
