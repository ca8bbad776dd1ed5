import type { FastifyInstance } from 'fastify'
import fastifyPlugin from 'fastify-plugin'
import type { Kysely } from 'kysely'
import type { Batcher } from '../concurrency/batcher.ts'
import { within } from '../concurrency/timeout.ts'
import type { Database } from '../database/schema.ts'
// For its type of request.exchange.
import type {} from '../oauth/token/routes.ts'
import { recordUses, recordUsesOfUnchanged } from './repository.ts'
import { type Use, useOf } from './use.ts'

/** The longest that closing waits for uses that are not written yet. */
const CLOSE_TIMEOUT_MS = 5_000

interface LastUsedOptions {
  db: Kysely<Database>
  recorder: Batcher<Use, void>
  /** The longest that a slow write delays a token, milliseconds. */
  maxDelayMs: number
}

/**
 * Records the use of each exchange that revalidation has not recorded, before the token leaves. Register it before the
 * token endpoint. Without it everything else works, and `lastUsedAt` stays null.
 */
export const lastUsed = fastifyPlugin(
  async (app: FastifyInstance, { db, recorder, maxDelayMs }: LastUsedOptions): Promise<void> => {
    // Postgres plans a statement on its first use, and Node compiles what surrounds it. The first token must not wait for both.
    app.addHook('onListen', async () => {
      await Promise.allSettled([recordUses(db, new Map()), recordUsesOfUnchanged(db, [])])
    })
    app.addHook('onSend', (request, _reply, payload, done) => {
      if (request.exchange === undefined || request.exchange.lastUsedWrite === 'done') return done(null, payload)
      const { clientId, credentialNumber, at, lastUsedWrite } = request.exchange
      const written = recorder.add(clientId, useOf(credentialNumber, at))
      if (lastUsedWrite === 'deferred') return done(null, payload)
      within(maxDelayMs, written).then(() => done(null, payload), done)
    })
    app.addHook('onClose', async () => {
      const isWritten = await within(CLOSE_TIMEOUT_MS, recorder.flush())
      if (!isWritten) app.log.error('closing before Last used could be written: the latest uses are lost')
    })
  },
  { name: 'last-used' }
)
