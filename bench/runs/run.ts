import type { BenchPostgres } from '../contestants/postgres.ts'
import type { Machine } from '../machine.ts'
import type { Result } from '../report/report.ts'

/** Options of every run; each run uses those that concern it. */
export interface RunOptions {
  rounds: number
  /** Length of each stretch of load. */
  seconds: number
  clients: number
  connections: number
  /** Exchanges of the soak. */
  exchanges: number
  /** Whether the comparison includes the peers from npm. */
  withPeers: boolean
  /** A smoke run: small sizes, to see that everything works. */
  isQuick: boolean
  /** More variables for grantd. */
  environment: Record<string, string>
  /** The other checkout, for the run that compares two. */
  otherCheckout: string | undefined
  machine: Machine
  postgres: BenchPostgres
  /** Reports progress. */
  say: (line: string) => unknown
}

export type Run = (options: RunOptions) => Promise<Result>

/** Returns the contestants in the order of this round: each begins a round in its turn. */
export function inTurn<Entry>(entries: readonly Entry[], round: number): Entry[] {
  const first = round % entries.length
  return [...entries.slice(first), ...entries.slice(0, first)]
}
