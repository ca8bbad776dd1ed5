import { randomInt } from 'node:crypto'

/** 36^20 is 2^103: an id that was given out once does not come again. */
const CLIENT_ID_LENGTH = 20
const ALPHABET = 'abcdefghijklmnopqrstuvwxyz0123456789'

export const CLIENT_ID_PATTERN = '^[a-z0-9]{20}$'

export function createClientId(): string {
  return Array.from({ length: CLIENT_ID_LENGTH }, () => ALPHABET[randomInt(ALPHABET.length)]).join('')
}

export function isClientId(text: string): boolean {
  return /^[a-z0-9]{20}$/.test(text)
}
