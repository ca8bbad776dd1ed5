import { createHmac, randomBytes } from 'node:crypto'
import { decodeWebhookSecret, encodeWebhookSecret } from '../../crypto/webhook-secret.ts'

/** Signing secrets of webhooks and the headers that they make, as Standard Webhooks 1.0 defines them. */

/** 256 random bits. Standard Webhooks allows 24 to 64 bytes. */
const SIGNING_SECRET_BYTES = 32

export function createSigningSecret(): string {
  return encodeWebhookSecret(randomBytes(SIGNING_SECRET_BYTES))
}

/**
 * Returns the headers by which a receiver verifies who sent a body, and when.
 *
 * @param id the same on every try, so that the receiver recognises a repetition
 * @param secrets each makes one signature; there are two while a secret is being replaced
 * @param now instant of this try, milliseconds since the epoch
 */
export function webhookHeaders(
  id: string,
  body: Buffer,
  secrets: readonly string[],
  now: number
): Record<string, string> {
  const timestamp = String(Math.floor(now / 1_000))
  const signatures = secrets.map(secret => {
    const key = decodeWebhookSecret(secret)
    if (key === undefined) throw new Error('a signing secret is malformed')
    return `v1,${createHmac('sha256', key).update(`${id}.${timestamp}.`).update(body).digest('base64')}`
  })
  return { 'webhook-id': id, 'webhook-timestamp': timestamp, 'webhook-signature': signatures.join(' ') }
}
