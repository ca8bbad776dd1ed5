import type { Machine } from '../machine.ts'
import { spread } from '../statistics.ts'
import { type Bar, drawChart } from './chart.ts'
import { atRate, type Comparison, medianOf, type Round, type Standing } from './standing.ts'
import { tidy } from './table.ts'

/** The rate of the latency panel: all contestants but the slowest can serve it. */
const TAIL_RATE_INDEX = 1

/** Draws throughput, CPU and the tail of a comparison as an SVG. */
export function comparisonChart({ standings, rates }: Comparison, machine: Machine): string {
  const shown = standings.filter(({ kind }) => kind !== 'static')
  const bars = (...reads: ((round: Round) => number)[]): Bar[] =>
    shown.map(standing => ({
      label: labelOf(standing),
      isOurs: standing.kind === 'grantd' || standing.kind === 'restarted',
      parts: reads.map(read => medianOf(standing, read))
    }))
  const cpuBars = bars(
    ({ full }) => full.serverUs,
    ({ full }) => full.postgresUs
  )
  const tailBars = bars(atRate(TAIL_RATE_INDEX, sample => sample.p99))
  const { date, cpu, cores, node, postgres } = machine
  return drawChart(
    'grantd beside its ceilings and its peers',
    [
      { title: 'Tokens per second at full load, one process', bars: bars(({ full }) => full.tokensPerSecond) },
      {
        title: 'CPU per token at full load, microseconds',
        legend: ['server', 'Postgres'],
        bars: cpuBars,
        cutAt: cutOf(cpuBars)
      },
      {
        title: `The slowest 1 % at ${tidy(rates[TAIL_RATE_INDEX] ?? 0)} requests per second, milliseconds (p99)`,
        bars: tailBars,
        cutAt: cutOf(tailBars)
      }
    ],
    `${date}, ${cpu}, ${cores} cores, Node ${node}, PostgreSQL ${postgres}; medians of ${shown[0]?.rounds.length} rounds`
  )
}

/** One very slow contestant would make all other bars invisible. */
const CUT_RATIO = 5

function cutOf(bars: readonly Bar[]): number {
  return CUT_RATIO * spread(bars.map(({ parts }) => parts.reduce((sum, part) => sum + part, 0))).median
}

function labelOf({ name, kind }: Standing): string {
  return kind === 'ceiling' ? `${name} (no database)` : name
}
