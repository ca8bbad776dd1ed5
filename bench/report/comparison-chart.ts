import type { Machine } from '../machine.ts'
import { drawChart } from './chart.ts'
import { atRate, type Comparison, medianOf, type Round, type Standing } from './standing.ts'

/** The rate of the latency panel: all contestants but the slowest can serve it. */
const TAIL_RATE_INDEX = 1

/** Draws throughput, CPU and the tail of a comparison as an SVG. */
export function comparisonChart({ standings, rates }: Comparison, machine: Machine, postgresVersion: string): string {
  const shown = standings.filter(({ kind }) => kind !== 'static')
  const bars = (...reads: ((round: Round) => number)[]) =>
    shown.map(standing => ({
      label: labelOf(standing),
      isOurs: standing.kind === 'grantd' || standing.kind === 'restarted',
      parts: reads.map(read => medianOf(standing, read))
    }))
  const tail = bars(atRate(TAIL_RATE_INDEX, sample => sample.p99))
  const { date, cpu, cores, node } = machine
  return drawChart(
    'grantd beside its ceilings and its peers',
    [
      { title: 'Tokens per second at full load, one process', bars: bars(({ full }) => full.tokensPerSecond) },
      {
        title: 'CPU per token at full load, microseconds',
        legend: ['server', 'Postgres'],
        bars: bars(
          ({ full }) => full.serverUs,
          ({ full }) => full.postgresUs
        )
      },
      {
        title: `The slowest 1 % at ${rates[TAIL_RATE_INDEX]} requests per second, milliseconds (p99)`,
        bars: tail,
        cutAt: cutOf(tail.flatMap(({ parts }) => parts))
      }
    ],
    `${date}, ${cpu}, ${cores} cores, Node ${node}, PostgreSQL ${postgresVersion}; medians of ${shown[0]?.rounds.length} rounds`
  )
}

/** A contestant that cannot serve the rate would make all other bars invisible. */
const CUT_RATIO = 5

function cutOf(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  return CUT_RATIO * (sorted[Math.floor(sorted.length / 2)] ?? 0)
}

function labelOf({ name, kind }: Standing): string {
  return kind === 'ceiling' ? `${name}, no database` : name
}
