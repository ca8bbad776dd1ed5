const PREFIX = 'whsec_'
const MIN_BYTES = 24
const MAX_BYTES = 64

/** Returns the text form of a signing secret: `whsec_` and its bytes in base64 (Standard Webhooks 1.0). */
export function encodeWebhookSecret(key: Buffer): string {
  return PREFIX + key.toString('base64')
}

/** Returns the bytes of a signing secret, 24 to 64 of them. Returns undefined when the text is malformed. */
export function decodeWebhookSecret(text: string): Buffer | undefined {
  const encoded = text.slice(PREFIX.length)
  const key = Buffer.from(encoded, 'base64')
  // Buffer.from ignores what is not base64, so only a text that comes out the same is well-formed.
  if (!text.startsWith(PREFIX) || key.toString('base64') !== encoded) return undefined
  return key.length >= MIN_BYTES && key.length <= MAX_BYTES ? key : undefined
}
