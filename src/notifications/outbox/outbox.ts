import type { Kysely } from 'kysely'
import type { Sealing } from '../../crypto/key-encryption.ts'
import type { Database } from '../../database/schema.ts'
import { type Outcome, type SenderNeeds, sendMessage, type Target } from '../channels/sender.ts'
import { noticeMessage } from '../message.ts'
import { targetOf } from '../receivers/service.ts'
import { SERVICE_RECEIVER_IDS } from '../repository.ts'
import { MAX_ATTEMPTS, retryDelayMs } from './backoff.ts'
import { type Claimed, claimDeliveries, recordDelivered, recordFailed, releaseDelivery } from './repository.ts'

export interface OutboxNeeds {
  db: Kysely<Database>
  sender: SenderNeeds
  sealing: Sealing
  /** `source` of events. */
  issuer: string
  /** The receivers of the configuration, by the ids that stand for them. */
  serviceTargets: ReadonlyMap<string, Target>
  /** Milliseconds since the epoch. */
  now: () => number
  /** Told how each try went. */
  onOutcome: (delivery: Claimed, outcome: Outcome, result: 'delivered' | 'failed' | 'dead') => void
  /** Told of what is no outcome: the database is away, a secret can't be opened. It is tried again later. */
  onError: (error: unknown) => void
}

/** Requests under way at once, of one instance. */
const MAX_AT_ONCE = 64
/** Of them to one receiver: however slow it is, the others have the rest. */
const MAX_PER_RECEIVER = 2
/** Longer than any try takes. Should this process end during one, the next try is made after so long. */
const LEASE_MS = 60_000
/** The longest that closing waits for tries under way before it cuts them off. */
const CLOSE_WAIT_MS = 1_000

/** Sends what is to be delivered, at least once, the same event id each time, no receiver waiting for another. */
export class Outbox {
  readonly #needs: OutboxNeeds
  /** Tries under way, by the receiver they go to. */
  readonly #underWay = new Map<Promise<void>, string>()
  readonly #closing = new AbortController()
  #isClosed = false
  #pumping: Promise<void> | undefined
  #again = false

  constructor(needs: OutboxNeeds) {
    this.#needs = needs
  }

  /** Begins what is due and can be begun now. What comes after it is begun by itself. @throws DatabaseUnavailable */
  async pump(): Promise<void> {
    this.#again = true
    this.#pumping ??= this.#pump().finally(async () => {
      this.#pumping = undefined
      // Asked for after the last claim was made: it would be lost otherwise.
      if (this.#again && !this.#isClosed) await this.pump()
    })
    await this.#pumping
  }

  /** @returns when nothing is under way */
  async idle(): Promise<void> {
    while (this.#underWay.size > 0 || this.#pumping !== undefined) {
      await this.#pumping?.catch(() => {})
      await Promise.all(this.#underWay.keys())
    }
  }

  /** Begins nothing more; what is under way has a moment to end and is then left to the next try. */
  async close(): Promise<void> {
    const timer = setTimeout(() => this.#closing.abort(new Error('closing')), CLOSE_WAIT_MS)
    this.#isClosed = true
    await this.idle()
    clearTimeout(timer)
  }

  async #pump(): Promise<void> {
    while (this.#again && !this.#isClosed) {
      this.#again = false
      const room = MAX_AT_ONCE - this.#underWay.size
      if (room <= 0) return
      const now = this.#needs.now()
      const claimed = await claimDeliveries(this.#needs.db, {
        now: new Date(now),
        leaseUntil: new Date(now + LEASE_MS),
        except: [...this.#underWay.values(), ...this.#unknown()],
        limit: room,
        limitPerReceiver: MAX_PER_RECEIVER
      })
      for (const delivery of claimed) {
        if (delivery.state === 'pending') this.#begin(delivery)
        // What was cancelled leaves its place to the next of its receiver.
        else this.#again = true
      }
    }
  }

  /** Receivers of the configuration that this instance does not have: another may. */
  #unknown(): string[] {
    return Object.values(SERVICE_RECEIVER_IDS).filter(id => !this.#needs.serviceTargets.has(id))
  }

  #begin(delivery: Claimed): void {
    const work = this.#deliver(delivery).then(() => {
      this.#underWay.delete(work)
      if (!this.#isClosed) this.pump().catch(this.#needs.onError)
    })
    this.#underWay.set(work, delivery.receiver_id)
  }

  async #deliver(delivery: Claimed): Promise<void> {
    const { db, onError, now } = this.#needs
    try {
      const outcome = await this.#try(delivery)
      if (outcome === undefined) await releaseDelivery(db, delivery, new Date(now()))
      else await this.#record(delivery, outcome)
    } catch (error) {
      // What became of it is not written: the lease ends, and it is tried again.
      onError(error)
    }
  }

  /** @returns undefined when it was cut off by closing */
  async #try(delivery: Claimed): Promise<Outcome | undefined> {
    const { sender, issuer, serviceTargets } = this.#needs
    let target: Target
    try {
      target =
        serviceTargets.get(delivery.receiver_id) ??
        (await targetOf(this.#needs, { ...delivery, id: delivery.receiver_id }))
    } catch (error) {
      this.#needs.onError(error)
      return { isDelivered: false, detail: 'its signing secret cannot be opened', isFinal: false }
    }
    try {
      return await sendMessage(sender, target, noticeMessage(delivery, issuer), this.#closing.signal)
    } catch (error) {
      if (this.#closing.signal.aborted) return undefined
      throw error
    }
  }

  async #record(delivery: Claimed, outcome: Outcome): Promise<void> {
    const { db, now, onOutcome } = this.#needs
    if (outcome.isDelivered) {
      await recordDelivered(db, delivery, new Date(now()))
      return onOutcome(delivery, outcome, 'delivered')
    }
    const isDead = outcome.isFinal || delivery.attempts >= MAX_ATTEMPTS
    const retryAt = isDead ? undefined : new Date(now() + retryDelayMs(delivery.attempts, Math.random()))
    await recordFailed(db, delivery, outcome.detail, retryAt)
    onOutcome(delivery, outcome, isDead ? 'dead' : 'failed')
  }
}
