export interface RepeatLog {
  info: (fields: object, message: string) => void
  error: (fields: object, message: string) => void
}

export interface RepeatOptions {
  /** Names the job in the log, for example `signing key refresh`. */
  name: string
  /** Does one round of the job. */
  work: () => Promise<void>
  /** Pause between two rounds, milliseconds. */
  everyMs: number
  /** Pause before the first round, milliseconds; `everyMs` by default. */
  firstAfterMs?: number
  /** Pause after a round that failed, milliseconds; `everyMs` by default. */
  retryAfterMs?: number
  /** Share of each pause, 0 to 1, that varies at random, so that instances that start together drift apart. */
  jitter?: number
  log: RepeatLog
}

export interface Repetition {
  start: () => void
  /** Starts no further round. Resolves when the current one has ended. */
  stop: () => Promise<void>
}

/**
 * Makes a background loop. A round that fails is logged and tried again later: it ends neither the loop nor the process.
 * The log has one line when a job begins to fail and one when it works again. The loop does not keep the process alive.
 */
export function repeat(options: RepeatOptions): Repetition {
  const { name, work, everyMs, firstAfterMs = everyMs, retryAfterMs = everyMs, jitter = 0, log } = options
  let timer: NodeJS.Timeout | undefined
  let round = Promise.resolve()
  let isFailing = false
  let isStopped = false

  const runOnce = async (): Promise<void> => {
    try {
      await work()
      if (isFailing) log.info({ job: name }, 'a background job works again')
      isFailing = false
    } catch (error) {
      if (!isFailing) log.error({ job: name, err: error }, 'a background job failed and will be retried')
      isFailing = true
    }
    schedule(isFailing ? retryAfterMs : everyMs)
  }
  const schedule = (pauseMs: number): void => {
    if (isStopped) return
    timer = setTimeout(() => (round = runOnce()), pauseMs * (1 - jitter * Math.random())).unref()
  }

  return {
    start: () => schedule(firstAfterMs),
    stop: async () => {
      isStopped = true
      clearTimeout(timer)
      await round
    }
  }
}
