import type { Kysely, Transaction } from 'kysely'
import type { AuditContext } from '../../admin-api/audit-context.ts'
import type { Site } from '../../admin-api/site.ts'
import type { Database } from '../../database/schema.ts'
import { MINUTE_MS } from '../../time.ts'
import { idempotencyKeyReused } from '../errors.ts'
import { findSealedAnswer, insertSealedAnswer, lockRetryKey } from './repository.ts'
import { deriveRetryKey, digestRequest, openAnswer, type RetryKey, sealAnswer } from './sealed-answer.ts'

export interface IdempotencyOptions {
  /** One for each KEY_ENCRYPTION_KEY that is in use, 32 bytes each, the same on every instance. */
  retryPeppers: readonly Buffer[]
  /** Milliseconds since the epoch. */
  now: () => number
}

export interface IdempotentRequest {
  /** Undefined when the caller does not ask for it. */
  idempotencyKey: string | undefined
  context: AuditContext
  /** The operation, what it is about, and its body. */
  request: readonly unknown[]
}

/** How a request is answered the first time. */
export interface FirstAnswer<Prepared, Answer> {
  /** Checks and computes what needs no transaction, such as a hash. */
  prepare: () => Promise<Prepared>
  /** Makes the change. */
  change: (trx: Transaction<Database>, prepared: Prepared) => Promise<Answer>
}

/** How long a retry gets the answer of the first try. */
const RETRY_LIFETIME_MS = 10 * MINUTE_MS

/**
 * Answers a request, or returns the answer of the first try with the same Idempotency-Key. The answer is committed with
 * the change, encrypted so that only the caller's key opens it. Answers with an error are not stored.
 *
 * While KEY_ENCRYPTION_KEY is being changed, the answer is stored under both keys, so that instances that have one or
 * both of them find it.
 *
 * @throws Problem 422 when the key was used for another request
 */
export async function answerOnce<Prepared, Answer>(
  { siteId, db }: Site,
  { retryPeppers, now }: IdempotencyOptions,
  { idempotencyKey, context, request }: IdempotentRequest,
  { prepare, change }: FirstAnswer<Prepared, Answer>
): Promise<Answer> {
  if (idempotencyKey === undefined) {
    const prepared = await prepare()
    return db.transaction().execute(trx => change(trx, prepared))
  }
  const keys = retryPeppers.map(pepper => deriveRetryKey(pepper, siteId, context, idempotencyKey))
  const digest = digestRequest(request)
  const first = await findAnswer<Answer>(db, keys, digest, now())
  if (first !== undefined) return first
  const prepared = await prepare()
  return db.transaction().execute(async trx => {
    // A request with the same key waits here, and then finds the answer.
    await lockRetryKey(
      trx,
      keys.map(key => key.digest)
    )
    const at = now()
    const meanwhile = await findAnswer<Answer>(trx, keys, digest, at)
    if (meanwhile !== undefined) return meanwhile
    const answer = await change(trx, prepared)
    const expiresAt = new Date(at + RETRY_LIFETIME_MS)
    for (const key of keys) {
      const sealed = sealAnswer(key, { request: digest, answer })
      await insertSealedAnswer(trx, { key_digest: key.digest, sealed, expires_at: expiresAt })
    }
    return answer
  })
}

async function findAnswer<Answer>(
  db: Kysely<Database>,
  keys: readonly RetryKey[],
  request: string,
  now: number
): Promise<Answer | undefined> {
  for (const key of keys) {
    const sealed = await findSealedAnswer(db, key.digest, now)
    if (sealed === undefined) continue
    const stored = openAnswer<Answer>(key, sealed)
    if (stored.request !== request) throw idempotencyKeyReused()
    return stored.answer
  }
  return undefined
}
