import cluster, { type Worker } from 'node:cluster'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from 'pino'
import { addUp, type Family, type Registry, whatItCounted } from '../metrics/registry.ts'

/**
 * The workers of an instance: processes that serve on one port. Each takes connections from the one socket that they
 * share, the idle ones first; the primary serves none itself.
 */

/**
 * Node's own way is to hand connections out in turn. A worker that is killed while one is being handed to it then takes
 * that caller with it into silence, and is never told to have ended.
 */
cluster.schedulingPolicy = cluster.SCHED_NONE

/** A worker that lived shorter than this died at once. */
const STEADY_MS = 5_000
/** Between a death at once and the next try; it doubles with each. */
const FIRST_PAUSE_MS = 100
/** So many deaths at once in a row, and no worker is going to live. */
const MAX_EARLY_DEATHS = 3
/** A worker closes within 9 s by itself. */
const DISMISS_TIMEOUT_MS = 9_300
/** How long a scrape waits for a worker; what that told last counts otherwise. */
const READ_TIMEOUT_MS = 1_000
/** What a worker told last is heard by then after its end. One that is killed while it gets its socket has no last word. */
const LAST_WORD_MS = 1_000

/** From the primary: end with the instance; make room for a successor that serves already; tell the metrics. */
type Order = 'close' | 'yield' | 'read'

/** From a worker. */
interface Report {
  /** Why it does not start. */
  fault?: string
  metrics?: Family[]
}

interface WorkersNeeds {
  count: number
  log: Logger
  /** Of the primary itself. */
  metrics: Registry
  /** Called when workers keep dying at once; none is started any more. */
  onGiveUp: (error: Error) => void
}

export class Workers {
  readonly #needs: WorkersNeeds
  readonly #crew = new Set<Member>()
  /** What workers counted that have ended, so that no counter goes back. */
  #retired: Family[] = []
  #earlyDeaths = 0
  #restarting: Promise<void> | undefined
  #isClosing = false

  constructor(needs: WorkersNeeds) {
    this.#needs = needs
  }

  /** @returns when all listen. @throws Error with the message of one that does not start */
  async start(): Promise<void> {
    await Promise.all(Array.from({ length: this.#needs.count }, () => this.#startOne()))
  }

  /** Is there one that serves? */
  get areServing(): boolean {
    return !this.#isClosing && [...this.#crew].some(({ isListening }) => isListening)
  }

  /** Replaces each in turn: the new one listens before the old one lets go of its connections. */
  async restart(): Promise<void> {
    if (this.#isClosing) return
    this.#restarting ??= this.#restartEach().finally(() => {
      this.#restarting = undefined
    })
    await this.#restarting
  }

  /** Lets all finish what they have begun. */
  async close(): Promise<void> {
    this.#isClosing = true
    await Promise.all([...this.#crew].map(member => dismiss(member, 'close')))
  }

  /** Of all processes together, the primary's among them. */
  async readMetrics(): Promise<Family[]> {
    const own = await this.#needs.metrics.read()
    await Promise.all([...this.#crew].map(member => member.askMetrics()))
    // At one instant: who ends meanwhile is either retired or of the crew.
    return addUp([own, this.#retired, ...[...this.#crew].map(({ metrics }) => metrics)])
  }

  async #startOne(): Promise<Member> {
    const member = new Member(cluster.fork())
    this.#crew.add(member)
    void member.gone.then(() => this.#onGone(member))
    await member.listening
    this.#needs.log.info({ worker: member.pid }, 'a worker listens')
    return member
  }

  #onGone(member: Member): void {
    this.#crew.delete(member)
    this.#retired = addUp([this.#retired, whatItCounted(member.metrics)])
    if (this.#isClosing || !member.isListening) return
    if (member.isLeaving) {
      if (member.end !== 0)
        this.#needs.log.error({ worker: member.pid, end: member.end }, 'a worker ended while it was being replaced')
      return
    }
    this.#needs.log.error({ worker: member.pid, end: member.end }, 'a worker ended; another takes its place')
    void this.#replace(Date.now() - member.startedAt, `it ended with ${member.end}`)
  }

  async #replace(livedMs: number, reason: string): Promise<void> {
    this.#earlyDeaths = livedMs < STEADY_MS ? this.#earlyDeaths + 1 : 0
    if (this.#earlyDeaths > MAX_EARLY_DEATHS) {
      if (!this.#isClosing) this.#needs.onGiveUp(new Error(`workers keep ending at once; the last one: ${reason}`))
      return
    }
    if (this.#earlyDeaths > 0) await sleep(FIRST_PAUSE_MS * 2 ** this.#earlyDeaths)
    if (this.#isClosing) return
    try {
      await this.#startOne()
    } catch (error) {
      await this.#replace(0, error instanceof Error ? error.message : String(error))
    }
  }

  async #restartEach(): Promise<void> {
    const { log } = this.#needs
    log.info('replacing the workers, one by one')
    for (const member of [...this.#crew]) {
      // One that has ended, or does not serve yet, is being replaced or new already.
      if (!this.#crew.has(member) || !member.isListening) continue
      member.isLeaving = true
      try {
        await this.#startOne()
      } catch (error) {
        member.isLeaving = false
        if (!this.#crew.has(member)) void this.#replace(0, 'it ended while it was being replaced')
        if (!this.#isClosing) log.error({ err: error }, 'a new worker did not start; the others stay as they are')
        return
      }
      if (this.#isClosing) return
      await dismiss(member, 'yield')
    }
    log.info('all workers are replaced')
  }
}

/** One worker, from its fork to its end. */
class Member {
  readonly #worker: Worker
  readonly startedAt = Date.now()
  /** Rejects when it ends before. */
  readonly listening: Promise<void>
  /** Resolves when it has ended and all that it told has been heard. */
  readonly gone: Promise<void>
  isListening = false
  /** Is its end no loss? */
  isLeaving = false
  /** What it told last. */
  metrics: Family[] = []
  /** Exit code, or the signal that ended it. */
  end: number | string = 'nothing'
  #told = Promise.withResolvers<void>()

  constructor(worker: Worker) {
    this.#worker = worker
    const listening = Promise.withResolvers<void>()
    this.listening = listening.promise
    let fault: string | undefined
    worker.on('message', (report: Report) => {
      fault ??= report.fault
      if (report.metrics !== undefined) this.#hear(report.metrics)
    })
    worker.on('listening', () => {
      this.isListening = true
      listening.resolve()
    })
    // An order to one that has just ended; its end tells all there is to tell.
    worker.on('error', () => {})
    const exited = Promise.withResolvers<void>()
    const disconnected = Promise.withResolvers<void>()
    worker.on('disconnect', disconnected.resolve)
    worker.on('exit', (code: number | null, signal: string | null) => {
      this.end = signal ?? code ?? 'nothing'
      exited.resolve()
    })
    this.gone = exited.promise.then(async () => {
      await within(LAST_WORD_MS, disconnected.promise)
      this.#told.resolve()
      listening.reject(new Error(fault ?? `a worker ended with ${this.end} before it listened`))
    })
  }

  get pid(): number | undefined {
    return this.#worker.process.pid
  }

  order(order: Order): void {
    if (this.#worker.isConnected()) this.#worker.send(order)
  }

  kill(): void {
    this.#worker.process.kill('SIGKILL')
  }

  /** @returns when it has told its metrics, or in a second */
  async askMetrics(): Promise<void> {
    this.order('read')
    await within(READ_TIMEOUT_MS, this.#told.promise)
  }

  #hear(metrics: Family[]): void {
    this.metrics = metrics
    this.#told.resolve()
    this.#told = Promise.withResolvers()
  }
}

async function dismiss(member: Member, order: 'close' | 'yield'): Promise<void> {
  member.isLeaving = true
  member.order(order)
  await within(DISMISS_TIMEOUT_MS, member.gone)
  member.kill()
}

async function within(ms: number, work: Promise<void>): Promise<void> {
  const timeout = Promise.withResolvers<void>()
  const timer = setTimeout(timeout.resolve, ms)
  await Promise.race([work, timeout.promise])
  clearTimeout(timer)
}

/**
 * In a worker: does what the primary says. A worker that loses its primary ends at once by itself: node:cluster
 * sees to that.
 */
export function obeyPrimary(metrics: Registry, close: (isReplaced: boolean) => void): void {
  process.on('message', async (order: Order) => {
    if (order === 'read') await tellPrimary({ metrics: await metrics.read() })
    else close(order === 'yield')
  })
  // What it told its primary found nobody there.
  cluster.worker?.on('error', () => process.exit(1))
}

/** In a worker. @returns when it is on its way */
export async function tellPrimary(report: Report): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  if (process.connected) process.send?.(report, undefined, undefined, () => resolve())
  else resolve()
  await promise
}
