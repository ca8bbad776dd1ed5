import { Type } from 'typebox'

/** Guessing a random key of this length takes longer than the key is valid. */
const IDEMPOTENCY_KEY_MIN_LENGTH = 16
const IDEMPOTENCY_KEY_MAX_LENGTH = 255

export const IdempotencyKey = Type.Object({
  'idempotency-key': Type.Optional(
    Type.String({
      minLength: IDEMPOTENCY_KEY_MIN_LENGTH,
      maxLength: IDEMPOTENCY_KEY_MAX_LENGTH,
      pattern: '^[!-~]*$',
      'x-fault': 'must be visible ASCII characters',
      description:
        'Makes retries safe. For 10 minutes, the same key with the same body gets the same answer, with the same secret. Use 16 to 255 visible ASCII characters that are random, such as a UUID: the key decrypts the stored answer.',
      examples: ['8e03978e-40d5-43dd-bc93-6894a57f9324']
    })
  )
})
