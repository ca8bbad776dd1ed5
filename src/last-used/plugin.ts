import { setTimeout as sleep } from 'node:timers/promises'
import type { FastifyInstance } from 'fastify'
import fastifyPlugin from 'fastify-plugin'
import type { Kysely } from 'kysely'
import { isForeignKeyViolation } from '../database/errors.ts'
import type { Database } from '../database/schema.ts'
import type { Asked, Confirmations } from '../oauth/token/confirmations.ts'
// For its type of request.exchange.
import type {} from '../oauth/token/routes.ts'
import { GroupCommit } from './group-commit.ts'
import { moveLastUsed, moveLastUsedOfUnchanged } from './repository.ts'
import { later, type Use, useOf } from './use.ts'

const RETRY_PAUSE_MS = 500
/** The longest that closing waits for what is noted and not yet written. */
const CLOSE_TIMEOUT_MS = 5_000

/** Hears how writing goes. */
export interface LastUsedWatch {
  /** Called once, with what tells how many clients' uses wait to be written. */
  waiting: (count: () => number) => void
  /** Called for each write that failed and is tried again. */
  failed: () => void
}

interface LastUsedNeeds {
  db: Kysely<Database>
  confirmations: Confirmations
  watch?: LastUsedWatch
}

/**
 * Moves a registration's Last used with every exchange: it is committed before the token leaves.
 * Register it before the token endpoint; without it everything else works, and Last used stays null.
 */
export const lastUsed = fastifyPlugin(
  async (app: FastifyInstance, { db, confirmations, watch }: LastUsedNeeds): Promise<void> => {
    confirmations.stampWith(asked => stamp(db, asked))
    // One line when it begins and one when it ends, however long it lasts.
    let isInTrouble = false
    const groupCommit = new GroupCommit(
      async uses => {
        await moveLastUsed(db, uses)
        if (isInTrouble) app.log.warn('Last used is written again')
        isInTrouble = false
      },
      () => sleep(RETRY_PAUSE_MS, undefined, { ref: false }),
      error => {
        // A client of the batch was deleted meanwhile: the next try leaves it out.
        if (isForeignKeyViolation(error)) return
        watch?.failed()
        if (!isInTrouble) app.log.error({ err: error }, 'Last used could not be written; trying until it can be')
        isInTrouble = true
      }
    )
    watch?.waiting(() => groupCommit.waiting)
    const delay = perBatch(committed => within(confirmations.maxDelayMs, committed))
    app.addHook('onSend', (request, _reply, payload, done) => {
      if (request.exchange === undefined || request.exchange.lastUsed === 'moved') return done(null, payload)
      const { clientId, credentialNumber, at, lastUsed } = request.exchange
      const committed = groupCommit.note(clientId, useOf(credentialNumber, at))
      if (lastUsed === 'late') return done(null, payload)
      delay(committed).then(() => done(null, payload), done)
    })
    app.addHook('onClose', async () => {
      await within(CLOSE_TIMEOUT_MS, groupCommit.flush())
      if (isInTrouble) app.log.error('closing before Last used could be written: the latest uses are lost')
    })
  },
  { name: 'last-used' }
)

/** @returns the client ids of those whose Last used it moved */
function stamp(db: Kysely<Database>, asked: readonly Asked[]): Promise<string[]> {
  const uses = new Map<string, Use>()
  const versions = new Map<string, number>()
  for (const { clientId, version, credentialNumber, at } of asked) {
    uses.set(clientId, later(useOf(credentialNumber, at), uses.get(clientId)))
    versions.set(clientId, version)
  }
  return moveLastUsedOfUnchanged(db, uses, versions)
}

/** The uses of one batch share their promise: so they do what is made of it, and its timer. */
function perBatch(make: (committed: Promise<void>) => Promise<void>): (committed: Promise<void>) => Promise<void> {
  let latest: Promise<void> | undefined
  let made = Promise.resolve()
  return committed => {
    if (committed !== latest) made = make(committed)
    latest = committed
    return made
  }
}

async function within(ms: number, work: Promise<void>): Promise<void> {
  const timeout = Promise.withResolvers<void>()
  const timer = setTimeout(timeout.resolve, ms)
  await Promise.race([work, timeout.promise])
  clearTimeout(timer)
}
