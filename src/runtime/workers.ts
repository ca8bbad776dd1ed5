import cluster from 'node:cluster'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from 'pino'
import { addUp, type Family, type Registry, whatItCounted } from '../metrics/registry.ts'
import { WorkerHandle } from './worker-handle.ts'

/*
 * Each worker accepts connections from the one socket that all share. In Node's default mode the primary hands
 * connections out. A worker that is killed during such a hand-over leaves that caller without an answer, and its exit
 * is never reported.
 */
cluster.schedulingPolicy = cluster.SCHED_NONE

/** A worker that lives shorter than this has failed to start. */
const STEADY_MS = 5_000
/** Pause before the next try after a failed start. It doubles with each. */
const FIRST_PAUSE_MS = 100
/** After more failed starts in a row than this, the instance gives up. */
const MAX_FAILED_STARTS = 3

interface WorkersOptions {
  count: number
  log: Logger
  /** The metrics of the primary. */
  metrics: Registry
  /** Called when workers fail to start again and again. No more are started then. */
  onGiveUp: (error: Error) => void
}

/** The workers of an instance, kept at their number. */
export class Workers {
  readonly #options: WorkersOptions
  readonly #workers = new Set<WorkerHandle>()
  /** Final counter values of workers that have exited, so that counters never decrease. */
  #retired: Family[] = []
  #failedStarts = 0
  #restarting: Promise<void> | undefined
  #isClosing = false

  constructor(options: WorkersOptions) {
    this.#options = options
  }

  /** Resolves when all listen, or when they are closed meanwhile. @throws Error with the fault of a worker that does not start */
  async start(): Promise<void> {
    try {
      await Promise.all(Array.from({ length: this.#options.count }, () => this.#startOne()))
    } catch (error) {
      if (!this.#isClosing) throw error
    }
  }

  /** Does at least one worker serve? */
  get areServing(): boolean {
    return !this.#isClosing && [...this.#workers].some(({ isListening }) => isListening)
  }

  /** Replaces each worker in turn. The new one listens before the old one stops. */
  async restart(): Promise<void> {
    if (this.#isClosing) return
    this.#restarting ??= this.#restartEach().finally(() => {
      this.#restarting = undefined
    })
    await this.#restarting
  }

  /** Lets all workers finish their requests and exit. */
  async close(): Promise<void> {
    this.#isClosing = true
    await Promise.all([...this.#workers].map(worker => worker.stop('close')))
  }

  /** Returns the metrics of all processes of the instance together, the primary included. */
  async readMetrics(): Promise<Family[]> {
    const own = await this.#options.metrics.read()
    await Promise.all([...this.#workers].map(worker => worker.readMetrics()))
    // Read in one turn, so that a worker that exits meanwhile counts exactly once.
    return addUp([own, this.#retired, ...[...this.#workers].map(({ metrics }) => metrics)])
  }

  async #startOne(): Promise<WorkerHandle> {
    const worker = new WorkerHandle(cluster.fork())
    this.#workers.add(worker)
    void worker.gone.then(() => this.#onGone(worker))
    await worker.listening
    this.#options.log.info({ worker: worker.pid }, 'a worker is listening')
    return worker
  }

  #onGone(worker: WorkerHandle): void {
    this.#workers.delete(worker)
    this.#retired = addUp([this.#retired, whatItCounted(worker.metrics)])
    if (this.#isClosing || !worker.isListening) return
    const { pid, end } = worker
    if (worker.isStopping) {
      if (end !== 0) this.#options.log.error({ worker: pid, end }, 'a worker failed while it was being replaced')
      return
    }
    this.#options.log.error({ worker: pid, end }, 'a worker ended unexpectedly; starting another')
    void this.#replace(Date.now() - worker.startedAt, `it ended with ${end}`)
  }

  async #replace(livedMs: number, reason: string): Promise<void> {
    this.#failedStarts = livedMs < STEADY_MS ? this.#failedStarts + 1 : 0
    if (this.#failedStarts > MAX_FAILED_STARTS) {
      if (!this.#isClosing)
        this.#options.onGiveUp(new Error(`workers keep failing to start. The last fault: ${reason}`))
      return
    }
    if (this.#failedStarts > 0) await sleep(FIRST_PAUSE_MS * 2 ** this.#failedStarts)
    if (this.#isClosing) return
    try {
      await this.#startOne()
    } catch (error) {
      await this.#replace(0, error instanceof Error ? error.message : String(error))
    }
  }

  async #restartEach(): Promise<void> {
    const { log } = this.#options
    log.info('replacing the workers one by one')
    for (const worker of [...this.#workers]) {
      // A worker that has exited or does not serve yet is new, or is being replaced already.
      if (!this.#workers.has(worker) || !worker.isListening) continue
      worker.isStopping = true
      try {
        await this.#startOne()
      } catch (error) {
        worker.isStopping = false
        if (!this.#workers.has(worker)) void this.#replace(0, 'it ended while it was being replaced')
        if (!this.#isClosing) log.error({ err: error }, 'a new worker did not start; the remaining workers stay')
        return
      }
      if (this.#isClosing) return
      await worker.stop('yield')
    }
    log.info('all workers are replaced')
  }
}
