import { pairwiseRatio } from '../statistics.ts'
import { atRate, type Comparison, failuresOf, findKind, medianOf, type Round, type Standing } from './standing.ts'
import { formatSpread, markdownTable, tidy } from './table.ts'

/** Returns the tables of a comparison, Markdown. */
export function comparisonTables(comparison: Comparison): string {
  return [
    '### Full load',
    fullLoadTable(comparison),
    `¹ Of a second process beside the first, on the same database. ² The load generator, and its share of a core.`,
    '### Latency at the same rates, p50 / p99 ms',
    latencyTable(comparison),
    'Latency counts from the instant at which a request was due. A contestant that cannot serve a rate queues without end.',
    '### CPU per token at the same rates, server + Postgres, µs',
    cpuTable(comparison),
    '### Ratios',
    ratiosTable(comparison)
  ].join('\n\n')
}

function fullLoadTable({ standings }: Comparison): string {
  return markdownTable(
    [
      ...['', 'tokens/s', 'server CPU µs', 'Postgres CPU µs', 'WAL bytes', 'RSS MiB'],
      ...['first token ms ¹', 'rows per token', 'failures', 'generator CPU µs ²']
    ],
    standings.map(standing => {
      const median = (read: (round: Round) => number): string => tidy(medianOf(standing, read))
      const generatorShare = Math.round(medianOf(standing, ({ full }) => full.generatorCores) * 100)
      return [
        standing.name,
        median(({ full }) => full.tokensPerSecond),
        median(({ full }) => full.serverUs),
        median(({ full }) => full.postgresUs),
        median(({ full }) => full.walBytes),
        median(({ full }) => full.residentMiB),
        standing.kind === 'restarted' ? '' : tidy(standing.coldStartMs),
        median(({ rowsPerToken }) => rowsPerToken),
        String(failuresOf(standing)),
        `${median(({ full }) => full.generatorUs)} (${generatorShare} %)`
      ]
    })
  )
}

function latencyTable({ standings, rates }: Comparison): string {
  return markdownTable(
    ['', ...rateNames(rates), 'half of its own full load'],
    standings.map(standing => {
      const cell = (read: (round: Round) => { p50: number; p99: number }): string =>
        `${tidy(medianOf(standing, round => read(round).p50))} / ${tidy(medianOf(standing, round => read(round).p99))}`
      return [
        standing.name,
        ...rates.map((_, index) => cell(({ atRates }) => atRates[index] ?? { p50: Number.NaN, p99: Number.NaN })),
        cell(({ ownHalf }) => ownHalf)
      ]
    })
  )
}

function cpuTable({ standings, rates }: Comparison): string {
  return markdownTable(
    ['', ...rateNames(rates)],
    standings.map(standing => [
      standing.name,
      ...rates.map((_, index) =>
        [atRate(index, sample => sample.serverUs), atRate(index, sample => sample.postgresUs)]
          .map(read => tidy(medianOf(standing, read)))
          .join(' + ')
      )
    ])
  )
}

function rateNames(rates: readonly number[]): string[] {
  return rates.map((rate, index) =>
    index === rates.length - 1 ? `half of grantd's full load (${tidy(rate)}/s)` : `${tidy(rate)}/s`
  )
}

function ratiosTable({ standings, rates }: Comparison): string {
  const grantd = findKind(standings, 'grantd')
  if (grantd === undefined) return ''
  const ratio = (other: Standing, read: (round: Round) => number): string =>
    formatSpread(pairwiseRatio(grantd.rounds.map(read), other.rounds.map(read)))
  return markdownTable(
    [
      ...['grantd over', 'tokens/s', 'server CPU per token', 'server + Postgres CPU per token'],
      ...rateNames(rates).map(name => `p99 at ${name}`),
      'p99 at half load, each its own'
    ],
    standings
      .filter(standing => standing !== grantd)
      .map(other => [
        other.name,
        ratio(other, ({ full }) => full.tokensPerSecond),
        ratio(other, ({ full }) => full.serverUs),
        ratio(other, ({ full }) => full.serverUs + full.postgresUs),
        ...rates.map((_, index) =>
          ratio(
            other,
            atRate(index, sample => sample.p99)
          )
        ),
        ratio(other, ({ ownHalf }) => ownHalf.p99)
      ])
  )
}
