import { createHmac, randomBytes } from 'node:crypto'

/** Signing secrets of webhooks, and the headers they make, by Standard Webhooks 1.0. Pure but for the making. */

const PREFIX = 'whsec_'
/** 256 bits; Standard Webhooks asks for 24 to 64 bytes. */
const SIGNING_SECRET_BYTES = 32
const LEAST_BYTES = 24
const MOST_BYTES = 64

export function createSigningSecret(): string {
  return PREFIX + randomBytes(SIGNING_SECRET_BYTES).toString('base64')
}

/** @returns the key that this secret stands for; undefined when it is malformed */
export function readSigningSecret(text: string): Buffer | undefined {
  const encoded = text.slice(PREFIX.length)
  if (!text.startsWith(PREFIX) || !/^[A-Za-z0-9+/]+={0,2}$/.test(encoded)) return undefined
  const key = Buffer.from(encoded, 'base64')
  return key.length >= LEAST_BYTES && key.length <= MOST_BYTES ? key : undefined
}

/**
 * The headers that let a receiver know who sent this body, and when.
 *
 * @param id the same on every try, so that the receiver can tell a repetition
 * @param secrets one signature each: two while a secret is being replaced
 * @param now of this try, milliseconds since the epoch
 */
export function webhookHeaders(
  id: string,
  body: Buffer,
  secrets: readonly string[],
  now: number
): Record<string, string> {
  const timestamp = String(Math.floor(now / 1_000))
  const signatures = secrets.map(secret => {
    const key = readSigningSecret(secret)
    if (key === undefined) throw new Error('a signing secret is malformed')
    return `v1,${createHmac('sha256', key).update(`${id}.${timestamp}.`).update(body).digest('base64')}`
  })
  return { 'webhook-id': id, 'webhook-timestamp': timestamp, 'webhook-signature': signatures.join(' ') }
}
