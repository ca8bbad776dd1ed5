import { randomBytes } from 'node:crypto'
import { crc32 } from 'node:zlib'
import { hash, verify } from '@node-rs/argon2'

/** 256 bits of randomness: guessing is out of reach, so rate limits guard cost, not secrecy. */
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

/**
 * Makes a Client secret: `prefix`, 256 random bits in base62, and a checksum of both.
 * Prefix and checksum let secret scanners find one, and let junk be refused before any hash.
 */
export function createClientSecret(prefix: string): string {
  const number = BigInt(`0x${randomBytes(CLIENT_SECRET_BYTES).toString('hex')}`)
  const body = prefix + base62(number, RANDOM_LENGTH)
  return body + checksum(body)
}

/**
 * Could this text be a secret that grantd made, under whichever prefix it was configured with then?
 * Depends on the text alone, so that the answer and its time tell nothing of what is registered.
 */
export function isWellFormedSecret(text: string): boolean {
  if (!/^[A-Za-z][A-Za-z0-9_]{5,31}[A-Za-z0-9]{49}$/.test(text)) return false
  const body = text.slice(0, -CHECKSUM_LENGTH)
  return checksum(body) === checksumOf(text)
}

/** The end of a well-formed secret: tells two secrets apart without hashing either. */
export function checksumOf(secret: string): string {
  return secret.slice(-CHECKSUM_LENGTH)
}

/** @returns the Argon2id hash in PHC string format, with a random salt */
export function hashClientSecret(secret: string): Promise<string> {
  return hash(secret, ARGON2)
}

export function verifyClientSecret(secret: string, storedHash: string): Promise<boolean> {
  return verify(storedHash, secret)
}

const DIGITS = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'

function base62(number: bigint, length: number): string {
  let text = ''
  for (let rest = number; text.length < length; rest /= 62n) text = (DIGITS[Number(rest % 62n)] ?? '') + text
  return text
}

/** Every exchange needs one: with numbers, which take a tenth of the time that BigInt does. */
function checksum(body: string): string {
  let text = ''
  for (let rest = crc32(body); text.length < CHECKSUM_LENGTH; rest = Math.floor(rest / 62)) {
    text = (DIGITS[rest % 62] ?? '') + text
  }
  return text
}
