import type { Kysely } from 'kysely'
import type { Database } from '../../database/schema.ts'
import { findUnchanged } from '../../registrations/repository.ts'

/** What memory holds a client to be. */
export interface Asked {
  clientId: string
  /** Version of the registration that memory knows. */
  version: number
  /** Which of its secrets was presented. */
  credentialNumber: number
  /** Instant of the exchange, milliseconds since the epoch. */
  at: number
}

/** @returns the client ids of those whose registration still has that version; each once or more */
export type Confirm = (asked: readonly Asked[]) => Promise<readonly string[]>

/** `unavailable`: the database doesn't answer, or not in time. */
export type Confirmation = 'confirmed' | 'changed' | 'unavailable'

interface Waiting {
  asked: Asked
  promise: Promise<Confirmation>
  resolve: (confirmation: Confirmation) => void
}

/** Longer than the database takes in good order: trouble with Last used delays a token by no more, and refuses none. */
const MAX_DELAY_MS = 50
/** While one is being committed the next is on its way: the database never waits for us, nor batches become small. */
const MAX_UNDER_WAY = 2

/**
 * Confirms with the database that what memory knows of clients still holds: one statement for all who wait.
 * While two are under way the next batch gathers; a client that exchanges many times at once is in it once.
 */
export class Confirmations {
  /** How long an exchange waits here at most; then it takes the long way. */
  readonly maxDelayMs: number
  #confirm: Confirm
  #isStamping = false
  #gathering = new Map<string, Waiting>()
  #isScheduled = false
  #underWay = 0
  #isOverdue = false

  constructor(confirm: Confirm, maxDelayMs = MAX_DELAY_MS) {
    this.#confirm = confirm
    this.maxDelayMs = maxDelayMs
  }

  /** Does confirming also move Last used? */
  get isStamping(): boolean {
    return this.#isStamping
  }

  /** Confirms by a statement that moves Last used of those it confirms to the instant of their exchange. */
  stampWith(confirm: Confirm): void {
    this.#confirm = confirm
    this.#isStamping = true
  }

  confirm(asked: Asked): Promise<Confirmation> {
    if (this.#isOverdue) return UNAVAILABLE
    const key = `${asked.clientId} ${asked.credentialNumber}`
    const waiting = this.#gathering.get(key)
    if (waiting === undefined) return this.#gather(key, asked)
    if (waiting.asked.version !== asked.version) return CHANGED
    waiting.asked.at = Math.max(waiting.asked.at, asked.at)
    return waiting.promise
  }

  #gather(key: string, asked: Asked): Promise<Confirmation> {
    const { promise, resolve } = Promise.withResolvers<Confirmation>()
    this.#gathering.set(key, { asked, promise, resolve })
    this.#schedule()
    return promise
  }

  /** At the end of this turn of the event loop: what it still brings goes along. */
  #schedule(): void {
    if (this.#isScheduled || this.#underWay === MAX_UNDER_WAY) return
    this.#isScheduled = true
    setImmediate(() => void this.#send())
  }

  async #send(): Promise<void> {
    const batch = this.#gathering
    this.#gathering = new Map()
    this.#isScheduled = false
    this.#underWay++
    await this.#settle(batch)
    this.#underWay--
    if (this.#gathering.size > 0) this.#schedule()
  }

  async #settle(batch: ReadonlyMap<string, Waiting>): Promise<void> {
    const overdue = setTimeout(() => {
      this.#isOverdue = true
      for (const each of [batch, this.#gathering]) {
        for (const { resolve } of each.values()) resolve('unavailable')
      }
    }, this.maxDelayMs)
    try {
      const confirmed = new Set(await this.#confirm(Array.from(batch.values(), ({ asked }) => asked)))
      for (const { asked, resolve } of batch.values()) resolve(confirmed.has(asked.clientId) ? 'confirmed' : 'changed')
    } catch {
      // Whoever waits takes the long way, which tells what is wrong.
      for (const { resolve } of batch.values()) resolve('unavailable')
    }
    clearTimeout(overdue)
    this.#isOverdue = false
  }
}

/** Confirms, and does no more. */
export async function confirmUnchanged(db: Kysely<Database>, asked: readonly Asked[]): Promise<string[]> {
  const clientIds = asked.map(({ clientId }) => clientId)
  const versions = asked.map(({ version }) => version)
  return (await findUnchanged(db, clientIds, versions)).map(row => row.client_id)
}

const UNAVAILABLE = Promise.resolve<Confirmation>('unavailable')
const CHANGED = Promise.resolve<Confirmation>('changed')
