import { setTimeout as sleep } from 'node:timers/promises'
import type { FastifyInstance } from 'fastify'
import fastifyPlugin from 'fastify-plugin'
import type { Kysely } from 'kysely'
import type { Database } from '../database/schema.ts'
// For its type of request.exchange.
import type {} from '../tokens/routes.ts'
import { GroupCommit } from './group-commit.ts'
import { moveLastUsed } from './repository.ts'

/** The longest that trouble in writing Last used may delay a token. It never refuses one. */
const MAX_DELAY_MS = 50
const RETRY_PAUSE_MS = 500
/** The longest that closing waits for what is noted and not yet written. */
const CLOSE_TIMEOUT_MS = 5_000

/**
 * Moves a registration's Last used with every exchange: it is committed before the token leaves.
 * Register it before the token endpoint; without it everything else works, and Last used stays null.
 */
export const lastUsed = fastifyPlugin(
  async (app: FastifyInstance, { db }: { db: Kysely<Database> }): Promise<void> => {
    const groupCommit = new GroupCommit(
      uses => moveLastUsed(db, uses),
      () => sleep(RETRY_PAUSE_MS, undefined, { ref: false }),
      error => app.log.error({ err: error }, 'Last used could not be written; trying again')
    )
    app.addHook('onSend', async request => {
      if (request.exchange === undefined) return
      const { clientId, at } = request.exchange
      await within(MAX_DELAY_MS, groupCommit.note(clientId, at))
    })
    app.addHook('onClose', async () => {
      await within(CLOSE_TIMEOUT_MS, groupCommit.flush())
    })
  },
  { name: 'last-used' }
)

async function within(ms: number, work: Promise<void>): Promise<void> {
  const timeout = Promise.withResolvers<void>()
  const timer = setTimeout(timeout.resolve, ms)
  await Promise.race([work, timeout.promise])
  clearTimeout(timer)
}
