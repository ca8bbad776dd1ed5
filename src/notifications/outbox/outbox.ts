import type { Kysely } from 'kysely'
import type { Sealing } from '../../crypto/key-encryption.ts'
import type { Database } from '../../database/schema.ts'
import { MINUTE_MS, SECOND_MS } from '../../time.ts'
import { type Attempt, type ChannelOptions, failed, type Outcome, type Target } from '../channels/channel.ts'
import { CHANNELS, sendMessage } from '../channels/channels.ts'
import { noticeMessage } from '../message.ts'
import { decryptSigningSecrets, SIGNING_SECRET_LOST, SigningSecretLost } from '../receivers/signing-secrets.ts'
import { MAX_ATTEMPTS, retryDelayMs } from './backoff.ts'
import { Places, type Try } from './places.ts'
import { type Claimed, claimDeliveries, recordDelivered, recordFailed, releaseDelivery } from './repository.ts'

/** A receiver that the configuration names. It gets the notices of all Sites. */
export interface ServiceReceiver {
  target: Target
  secrets: readonly string[]
}

export type DeliveryResult = 'delivered' | 'failed' | 'dead'

export interface OutboxOptions {
  db: Kysely<Database>
  channels: ChannelOptions
  sealing: Sealing
  /** `source` of events. */
  issuer: string
  /** The receivers of the configuration, by their kind. */
  serviceReceivers: ReadonlyMap<string, ServiceReceiver>
  /** Time of the database, milliseconds since the epoch. An instance's own clock may be wrong. */
  databaseNow: () => Promise<number>
  /** Called with the result of each try. */
  onResult: (delivery: Claimed, result: DeliveryResult, detail: string) => void
  /** Called when a try has no result, because the database is away or a secret cannot be decrypted. It is retried. */
  onError: (error: unknown) => void
}

/** Longer than any try takes. If this process ends during a try, another one is made after this time. */
const LEASE_MS = MINUTE_MS
/** How long closing waits for the tries that are under way before it cuts them off. */
const CLOSE_WAIT_MS = SECOND_MS

/** Delivers notices, each at least once and every try with the same event id. No receiver waits for another. */
export class Outbox {
  readonly #options: OutboxOptions
  readonly #places = new Places(() => this.pumpInBackground())
  readonly #underWay = new Set<Promise<void>>()
  readonly #closing = new AbortController()
  /** Queues of the receivers that the configuration of this instance lacks. Another instance may have them. */
  readonly #foreignQueues: string[]
  #isClosed = false
  #pumping: Promise<void> | undefined
  #again = false

  constructor(options: OutboxOptions) {
    this.#options = options
    this.#foreignQueues = CHANNELS.map(({ kind }) => kind).filter(kind => !options.serviceReceivers.has(kind))
  }

  /**
   * Starts the deliveries that are due, as far as there are places for them. The others are started when places are free.
   *
   * @throws DatabaseUnavailable
   */
  async pump(): Promise<void> {
    this.#again = true
    this.#pumping ??= this.#pump().finally(() => {
      this.#pumping = undefined
      // A request that came after the last claim would be lost otherwise.
      if (this.#again) this.pumpInBackground()
    })
    await this.#pumping
  }

  /** Does the same without waiting for it. A failure goes to `onError`. */
  pumpInBackground(): void {
    if (!this.#isClosed) this.pump().catch(this.#options.onError)
  }

  /** Resolves when no try is under way. */
  async idle(): Promise<void> {
    while (this.#underWay.size > 0 || this.#pumping !== undefined) {
      await this.#pumping?.catch(() => {})
      await Promise.all(this.#underWay)
    }
  }

  /** Starts no further try. Tries that do not end in a second are cut off and left to the next instance. */
  async close(): Promise<void> {
    const timer = setTimeout(() => this.#closing.abort(new Error('closing')), CLOSE_WAIT_MS)
    this.#isClosed = true
    await this.idle()
    clearTimeout(timer)
  }

  async #pump(): Promise<void> {
    const { db, databaseNow } = this.#options
    while (this.#again && !this.#isClosed) {
      this.#again = false
      const now = await databaseNow()
      const limits = this.#places.limits()
      if (limits === undefined) return
      const claimed = await claimDeliveries(db, {
        ...limits,
        exceptQueues: [...limits.exceptQueues, ...this.#foreignQueues],
        now: new Date(now),
        leaseUntil: new Date(now + LEASE_MS)
      })
      for (const delivery of claimed) {
        if (delivery.state === 'pending') this.#begin(delivery)
        // A cancelled delivery leaves its place to the next one in its queue.
        else this.#again = true
      }
    }
  }

  #begin(delivery: Claimed): void {
    const taken = this.#places.take(delivery)
    const work = this.#deliver(delivery, taken).then(() => {
      this.#underWay.delete(work)
      this.#places.leave(taken)
      this.pumpInBackground()
    })
    this.#underWay.add(work)
  }

  /** Makes one try and records its result. It never rejects. */
  async #deliver(delivery: Claimed, { cut }: Try): Promise<void> {
    const { db, databaseNow, onError } = this.#options
    try {
      const outcome = await this.#try(delivery, AbortSignal.any([this.#closing.signal, cut.signal]))
      if (outcome === undefined) await releaseDelivery(db, delivery, new Date(await databaseNow()))
      else await this.#record(delivery, outcome)
    } catch (error) {
      // The result was not recorded. The delivery is tried again when the lease ends.
      onError(error)
    }
  }

  /** @returns undefined when closing cut it off */
  async #try(delivery: Claimed, signal: AbortSignal): Promise<Outcome | undefined> {
    const { channels, issuer, databaseNow, onError } = this.#options
    const sentAt = await databaseNow()
    let receiver: Pick<Attempt, 'target' | 'secrets'>
    try {
      receiver = await this.#receiverOf(delivery, sentAt)
    } catch (error) {
      if (!(error instanceof SigningSecretLost)) throw error
      onError(error)
      return failed(SIGNING_SECRET_LOST)
    }
    const attempt = { ...receiver, message: noticeMessage(delivery, issuer), reached: delivery.reached, sentAt, signal }
    try {
      return await sendMessage(channels, delivery.kind, attempt)
    } catch (error) {
      if (this.#closing.signal.aborted) return undefined
      throw error
    }
  }

  async #receiverOf(delivery: Claimed, now: number): Promise<Pick<Attempt, 'target' | 'secrets'>> {
    const { sealing, serviceReceivers } = this.#options
    const { receiver_id: id, target } = delivery
    const serviceReceiver = id === null ? serviceReceivers.get(delivery.kind) : undefined
    if (serviceReceiver !== undefined) return serviceReceiver
    if (id === null || target === null) throw new Error(`delivery ${delivery.id} has no receiver`)
    return { target, secrets: await decryptSigningSecrets(sealing, { ...delivery, id }, now) }
  }

  async #record(delivery: Claimed, outcome: Outcome): Promise<void> {
    const { db, databaseNow, onResult } = this.#options
    const now = await databaseNow()
    if (outcome.isDelivered) {
      await recordDelivered(db, delivery, new Date(now))
      return onResult(delivery, 'delivered', outcome.detail)
    }
    const isDead = outcome.isFinal || delivery.attempts >= MAX_ATTEMPTS
    const retryAt = isDead ? undefined : new Date(now + retryDelayMs(delivery.attempts, Math.random()))
    await recordFailed(db, delivery, outcome.detail, retryAt, outcome.reached ?? delivery.reached)
    onResult(delivery, isDead ? 'dead' : 'failed', outcome.detail)
  }
}
