import type { Sample } from '../measure.ts'
import { spread } from '../statistics.ts'

/** One contestant of the comparison with all that was measured. */
export interface Standing {
  name: string
  kind: 'static' | 'ceiling' | 'guarantee' | 'grantd' | 'restarted' | 'peer'
  rounds: Round[]
  /** Milliseconds from spawn to the first token. */
  coldStartMs: number
}

export interface Round {
  full: Sample
  /** At half of its own full load in this round. */
  ownHalf: Sample
  /** At the same rates for all contestants, in the order of `Comparison.rates`. */
  atRates: Sample[]
  rowsPerToken: number
}

export interface Comparison {
  standings: Standing[]
  /** Requests per second. The last is half of grantd's full load. */
  rates: number[]
}

/** Returns the median over the rounds. */
export function medianOf({ rounds }: Standing, read: (round: Round) => number): number {
  return spread(rounds.map(read)).median
}

export function findKind(standings: readonly Standing[], kind: Standing['kind']): Standing | undefined {
  return standings.find(standing => standing.kind === kind)
}

/** Returns a figure of a round at one of the rates. */
export function atRate(index: number, read: (sample: Sample) => number): (round: Round) => number {
  return ({ atRates }) => {
    const sample = atRates[index]
    return sample === undefined ? Number.NaN : read(sample)
  }
}

export function failuresOf({ rounds }: Standing): number {
  return rounds
    .flatMap(({ full, ownHalf, atRates }) => [full, ownHalf, ...atRates])
    .reduce((sum, { failures }) => sum + failures, 0)
}
