import { setTimeout as sleep } from 'node:timers/promises'
import type { FastifyInstance } from 'fastify'
import fastifyPlugin from 'fastify-plugin'
import type { Kysely } from 'kysely'
import { within } from '../concurrency/timeout.ts'
import { isForeignKeyViolation } from '../database/errors.ts'
import type { Database } from '../database/schema.ts'
// For its type of request.exchange.
import type {} from '../oauth/token/routes.ts'
import { recordUses, recordUsesOfUnchanged } from './repository.ts'
import { useOf } from './use.ts'
import { createUseWriter } from './use-writer.ts'

const RETRY_PAUSE_MS = 500
/** The longest that closing waits for uses that are not written yet. */
const CLOSE_TIMEOUT_MS = 5_000

/** Callbacks about writing, for metrics. */
export interface LastUsedWatch {
  /** Called once, with a function that counts the uses that are not written yet. */
  waiting: (count: () => number) => void
  /** Called for each write that failed and will be retried. */
  failed: () => void
}

interface LastUsedOptions {
  db: Kysely<Database>
  /** The longest that a slow write delays a token, milliseconds. */
  maxDelayMs: number
  watch?: LastUsedWatch
}

/**
 * Records the use of each exchange that revalidation has not recorded, before the token leaves. Register it before the
 * token endpoint. Without it everything else works, and `lastUsedAt` stays null.
 */
export const lastUsed = fastifyPlugin(
  async (app: FastifyInstance, { db, maxDelayMs, watch }: LastUsedOptions): Promise<void> => {
    // The log has one line when trouble begins and one when it ends.
    let isInTrouble = false
    const writer = createUseWriter({
      write: uses => recordUses(db, uses),
      pause: () => sleep(RETRY_PAUSE_MS, undefined, { ref: false }),
      onError: error => {
        // A client of the batch was deleted meanwhile. The retry leaves it out.
        if (isForeignKeyViolation(error)) return
        watch?.failed()
        if (!isInTrouble) app.log.error({ err: error }, 'Last used could not be written and will be retried')
        isInTrouble = true
      },
      onWritten: () => {
        if (isInTrouble) app.log.warn('Last used is written again')
        isInTrouble = false
      }
    })
    watch?.waiting(() => writer.waiting)
    // Postgres plans a statement on its first use, and Node compiles what surrounds it. The first token must not wait for both.
    app.addHook('onListen', async () => {
      await Promise.allSettled([recordUses(db, new Map()), recordUsesOfUnchanged(db, [])])
    })
    app.addHook('onSend', (request, _reply, payload, done) => {
      if (request.exchange === undefined || request.exchange.lastUsedWrite === 'done') return done(null, payload)
      const { clientId, credentialNumber, at, lastUsedWrite } = request.exchange
      const written = writer.add(clientId, useOf(credentialNumber, at))
      if (lastUsedWrite === 'deferred') return done(null, payload)
      within(maxDelayMs, written).then(() => done(null, payload), done)
    })
    app.addHook('onClose', async () => {
      const isWritten = await within(CLOSE_TIMEOUT_MS, writer.flush())
      if (!isWritten) app.log.error('closing before Last used could be written: the latest uses are lost')
    })
  },
  { name: 'last-used' }
)
