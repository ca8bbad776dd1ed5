import type { Machine } from './machine.ts'
import { spread } from './statistics.ts'

/** Disturbances of the machine while the bench ran. */
export interface Conditions {
  /** Share of the machine that other programs took in each stretch of load. */
  foreignShares: readonly number[]
  /** Jumps of the wall clock, milliseconds. */
  clockStepsMs: readonly number[]
}

/** Other programs take turns from a server that must wait for other processes, and never evenly. */
const BUSY_SHARE = 0.05
/** A disk that answers faster does not wait for its medium. */
const SYNC_FLOOR_MS = 0.02
/** A commit that waits this long hides what a server costs. */
const SYNC_CEILING_MS = 10
/** The slowest commits decide the tail of every server that commits. */
const SYNC_TAIL_RATIO = 20

/** Returns why a reader should not believe the figures of a run; nothing when the machine was quiet. */
export function doubtsOf({ busyShare, sync }: Machine, { foreignShares, clockStepsMs }: Conditions): string[] {
  const foreign = foreignShares.length === 0 ? 0 : spread(foreignShares).median
  const doubts: [boolean, string][] = [
    [busyShare > BUSY_SHARE, `other programs took ${percent(busyShare)} of the machine before the bench began`],
    [foreign > BUSY_SHARE, `other programs took ${percent(foreign)} of the machine while it measured`],
    [sync.p50 < SYNC_FLOOR_MS, `a page is on the disk after ${sync.p50.toFixed(3)} ms: this disk does not keep it`],
    [
      sync.p50 > SYNC_CEILING_MS,
      `a page is on the disk only after ${sync.p50.toFixed(1)} ms: commits hide other costs`
    ],
    [
      sync.p99 > sync.p50 * SYNC_TAIL_RATIO && sync.p99 > SYNC_CEILING_MS,
      `one page in a hundred takes ${sync.p99.toFixed(1)} ms to reach the disk: the tails are the disk's`
    ],
    [clockStepsMs.length > 0, `the clock jumped by ${clockStepsMs.map(step => step.toFixed(0)).join(', ')} ms`]
  ]
  return doubts.filter(([isTrue]) => isTrue).map(([, reason]) => reason)
}

function percent(share: number): string {
  return `${Math.round(share * 100)} %`
}

const LOOK_INTERVAL_MS = 250
/** A slewed clock moves by less than this between two looks. */
const STEP_MS = 5

/** Watches the wall clock for jumps. Returns a function that ends this and returns the jumps, milliseconds. */
export function watchClock(wallClock = () => Date.now(), monotonic = () => performance.now()): () => number[] {
  const steps: number[] = []
  const offset = (): number => wallClock() - monotonic()
  let last = offset()
  const look = (): void => {
    // A process that is interrupted between its two readings sees a jump that a second look does not find.
    const step = Math.abs(offset() - last) < STEP_MS ? 0 : offset() - last
    if (Math.abs(step) < STEP_MS) return
    steps.push(step)
    last += step
  }
  const timer = setInterval(look, LOOK_INTERVAL_MS)
  timer.unref()
  return () => {
    clearInterval(timer)
    look()
    return steps
  }
}
