import type { Worker } from 'node:cluster'
import { within } from '../concurrency/timeout.ts'
import type { Family } from '../metrics/registry.ts'
import type { Order, Report } from './primary-channel.ts'

/** A worker shuts down within 9 s by itself. After this long it is killed. */
const STOP_TIMEOUT_MS = 9_300
/** A scrape waits this long for a worker. Then the worker's last report counts. */
const READ_TIMEOUT_MS = 1_000
/**
 * After a worker has exited, its last report arrives within this time. A worker that is killed while it receives its
 * socket never sends one.
 */
const LAST_REPORT_MS = 1_000

/** The primary's view of one worker, from its fork to its exit. */
export class WorkerHandle {
  readonly #worker: Worker
  readonly startedAt = Date.now()
  /** Resolves when the worker serves. Rejects when it exits before that. */
  readonly listening: Promise<void>
  /** Resolves when the worker has exited and its last report has arrived. */
  readonly gone: Promise<void>
  isListening = false
  /** Is its exit expected? */
  isStopping = false
  /** The metrics that it reported last. */
  metrics: Family[] = []
  /** Exit code, or the signal that ended it. */
  end: number | string = 'nothing'
  #reported = Promise.withResolvers<void>()

  constructor(worker: Worker) {
    this.#worker = worker
    const listening = Promise.withResolvers<void>()
    this.listening = listening.promise
    let fault: string | undefined
    worker.on('message', (report: Report) => {
      fault ??= report.fault
      if (report.metrics !== undefined) this.#receive(report.metrics)
    })
    worker.on('listening', () => {
      this.isListening = true
      listening.resolve()
    })
    // An order could not be sent because the worker has just exited. `exit` follows.
    worker.on('error', () => {})
    const exited = Promise.withResolvers<void>()
    const disconnected = Promise.withResolvers<void>()
    worker.on('disconnect', disconnected.resolve)
    worker.on('exit', (code: number | null, signal: string | null) => {
      this.end = signal ?? code ?? 'nothing'
      exited.resolve()
    })
    this.gone = exited.promise.then(async () => {
      await within(LAST_REPORT_MS, disconnected.promise)
      this.#reported.resolve()
      listening.reject(new Error(fault ?? `a worker ended with ${this.end} before it listened`))
    })
  }

  get pid(): number | undefined {
    return this.#worker.process.pid
  }

  /** Asks for its metrics. Resolves when they have arrived, or after a second. */
  async readMetrics(): Promise<void> {
    this.#order('read')
    await within(READ_TIMEOUT_MS, this.#reported.promise)
  }

  /** Lets it finish its requests and exit. Kills it when that takes too long. */
  async stop(order: 'close' | 'yield'): Promise<void> {
    this.isStopping = true
    this.#order(order)
    await within(STOP_TIMEOUT_MS, this.gone)
    this.#worker.process.kill('SIGKILL')
  }

  #order(order: Order): void {
    if (this.#worker.isConnected()) this.#worker.send(order)
  }

  #receive(metrics: Family[]): void {
    this.metrics = metrics
    this.#reported.resolve()
    this.#reported = Promise.withResolvers()
  }
}
