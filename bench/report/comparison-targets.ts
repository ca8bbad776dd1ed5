import { pairwiseRatio, type Spread, spread } from '../statistics.ts'
import { atRate, type Comparison, findKind, medianOf, type Round, type Standing } from './standing.ts'
import { tidy } from './table.ts'
import type { Target } from './target.ts'

/** Returns the targets that the comparison can decide, with what grantd reached. */
export function comparisonTargets({ standings, rates }: Comparison): Target[] {
  const grantd = findKind(standings, 'grantd')
  if (grantd === undefined) return []
  const ratioTo = (other: Standing | undefined, read: (round: Round) => number): Spread | undefined =>
    other && pairwiseRatio(grantd.rounds.map(read), other.rounds.map(read))
  const target = (what: string, value: Spread | undefined, wanted: Target['wanted'], unit: Target['unit'] = '×') =>
    value === undefined ? [] : [{ what, value, unit, wanted }]

  const [ceiling, guarantee, bare] = (['ceiling', 'guarantee', 'static'] as const).map(kind =>
    findKind(standings, kind)
  )
  const tokensPerSecond = ({ full }: Round): number => full.tokensPerSecond
  const serverUs = ({ full }: Round): number => full.serverUs
  const slowest = atRate(0, sample => sample.serverUs)
  const half = rates.length - 1
  return [
    ...target('tokens/s against the ceiling that signs in turns (aim: 0.85)', ratioTo(ceiling, tokensPerSecond), {
      least: 0.7
    }),
    ...target('tokens/s against the same guarantee, nothing else', ratioTo(guarantee, tokensPerSecond), {
      least: 0.95
    }),
    ...target('server CPU per token against that', ratioTo(guarantee, serverUs), { most: 1.3 }),
    ...target(
      "p99 against that, both at half of grantd's full load",
      ratioTo(
        guarantee,
        atRate(half, sample => sample.p99)
      ),
      { most: 1.3 }
    ),
    ...rates.flatMap((rate, index) => {
      const p99 = atRate(index, sample => sample.p99)
      const best = leastPeer(standings, p99)
      return target(`p99 at ${tidy(rate)}/s against the best peer (${best?.name})`, ratioTo(best, p99), { most: 1 })
    }),
    ...[
      { isStoring: false, least: 3 },
      { isStoring: true, least: 4.5 }
    ].flatMap(({ isStoring, least }) => {
      const peer = fastestPeer(standings, isStoring)
      return target(`tokens/s against ${peer?.name}`, ratioTo(peer, tokensPerSecond), { least })
    }),
    ...target(`server CPU per token at ${rates[0]}/s against the ceiling`, ratioTo(ceiling, slowest), { most: 1.5 }),
    ...target(
      `Postgres CPU per token at ${rates[0]}/s`,
      spread(grantd.rounds.map(atRate(0, sample => sample.postgresUs))),
      { most: 200 },
      'µs'
    ),
    ...target('memory under load', spread(grantd.rounds.map(({ full }) => full.residentMiB)), { most: 150 }, 'MiB'),
    ...target('spawn to first token against a bare Fastify', bare && spread([grantd.coldStartMs / bare.coldStartMs]), {
      most: 3
    }),
    ...target('rows per token', spread(grantd.rounds.map(({ rowsPerToken }) => rowsPerToken)), { most: 0 }, 'rows')
  ]
}

/** Returns the peer with the most tokens a second, among those that store each token or among the others. */
export function fastestPeer(standings: readonly Standing[], isStoring: boolean): Standing | undefined {
  const peers = standings.filter(
    standing => standing.kind === 'peer' && medianOf(standing, ({ rowsPerToken }) => rowsPerToken) > 0.5 === isStoring
  )
  return peers.sort(descending(peer => medianOf(peer, ({ full }) => full.tokensPerSecond)))[0]
}

function leastPeer(standings: readonly Standing[], read: (round: Round) => number): Standing | undefined {
  return standings.filter(({ kind }) => kind === 'peer').sort(descending(peer => -medianOf(peer, read)))[0]
}

function descending(read: (standing: Standing) => number): (a: Standing, b: Standing) => number {
  return (a, b) => read(b) - read(a)
}
