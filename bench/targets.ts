import type { Comparison, Standing } from './comparison.ts'
import type { Latencies, Round } from './measure.ts'
import { pairwiseRatio, type Spread, spread } from './statistics.ts'

/** A figure of grantd beside what it should be. */
export interface Target {
  what: string
  value: Spread
  unit: '×' | 'MiB' | 's' | 'rows'
  /** At least, or at most. */
  wanted: { least: number } | { most: number }
  /** What the ceiling comes to: more than that nothing on this stack and machine can reach. */
  ceiling?: Spread
}

/** The targets that one run can tell: ratios of the same rounds, and what grantd takes. */
export function targetsOf({ standings, npmStartMs }: Comparison): Target[] {
  const grantd = standings.find(({ kind }) => kind === 'grantd')
  const ceiling = standings.find(({ kind }) => kind === 'ceiling')
  if (grantd === undefined || ceiling === undefined) return []
  const [unstored, stored] = [fastestPeer(standings, false), fastestPeer(standings, true)]
  const rate = (round: Round): number => round.tokensPerSecond
  const p99 = ({ half }: Round): number => half.p99
  const overPeer = (peer: Standing, least: number): Target => ({
    what: `tokens/s over ${peer.name}`,
    value: ratio(grantd, peer, rate),
    unit: '×',
    wanted: { least },
    ceiling: ratio(ceiling, peer, rate)
  })
  return [
    { what: 'tokens/s over the ceiling', value: ratio(grantd, ceiling, rate), unit: '×', wanted: { least: 0.85 } },
    {
      what: 'server CPU per token over the ceiling',
      value: ratio(grantd, ceiling, ({ serverUs }) => serverUs),
      unit: '×',
      wanted: { most: 1.4 }
    },
    ...(unstored === undefined ? [] : [overPeer(unstored, 3)]),
    ...(stored === undefined ? [] : [overPeer(stored, 6)]),
    {
      what: "p99 over the ceiling's, both at half of grantd's full load",
      value: pairwiseRatio(grantd.rounds.map(p99), ceiling.atGrantdsHalf.map(latency99)),
      unit: '×',
      wanted: { most: 2 }
    },
    {
      what: "p99 over the ceiling's, each at half of its own full load",
      value: ratio(grantd, ceiling, p99),
      unit: '×',
      wanted: { most: 2 }
    },
    {
      what: 'memory under load',
      value: spread(grantd.rounds.map(({ residentMiB }) => residentMiB)),
      unit: 'MiB',
      wanted: { most: 150 }
    },
    { what: 'spawn to first token', value: spread([grantd.coldStartMs / 1_000]), unit: 's', wanted: { most: 0.6 } },
    {
      what: '`npm start` the second time, to first token',
      value: spread([npmStartMs / 1_000]),
      unit: 's',
      wanted: { most: 1 }
    },
    {
      what: 'rows per token',
      value: spread(grantd.rounds.map(({ rowsPerToken }) => rowsPerToken)),
      unit: 'rows',
      wanted: { most: 0 }
    }
  ]
}

export function isReached({ value: { median }, wanted }: Target): boolean {
  return 'least' in wanted ? median >= wanted.least : median <= wanted.most
}

/** The peer with the most tokens a second among those that store each token, or those that don't. */
export function fastestPeer(standings: readonly Standing[], isStoring: boolean): Standing | undefined {
  const rateOf = ({ rounds }: Standing): number => spread(rounds.map(round => round.tokensPerSecond)).median
  return standings
    .filter(({ kind, rounds }) => kind === 'peer' && rounds.some(round => round.rowsPerToken > 0.5) === isStoring)
    .sort((a, b) => rateOf(b) - rateOf(a))[0]
}

function ratio(ours: Standing, theirs: Standing, of: (round: Round) => number): Spread {
  return pairwiseRatio(ours.rounds.map(of), theirs.rounds.map(of))
}

function latency99({ p99 }: Latencies): number {
  return p99
}
