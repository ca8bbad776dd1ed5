import type { Comparison, Standing } from './comparison.ts'
import type { Machine } from './machine.ts'
import type { Latencies, Round } from './measure.ts'
import { pairwiseRatio, type Spread, spread } from './statistics.ts'
import { isReached, type Target } from './targets.ts'

export function markdownTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`
  return [line(head), `|${head.map(() => '---').join('|')}|`, ...rows.map(line)].join('\n')
}

export function machineLine(machine: Machine, postgresVersion: string): string {
  const { cpu, cores, memoryGiB, system, node, loadAverage, syncMs } = machine
  return (
    `${cpu}, ${cores} cores, ${memoryGiB} GiB, ${system}; Node ${node}, PostgreSQL ${postgresVersion}; ` +
    `load average ${loadAverage.toFixed(2)} at the start; a page is on the disk after ${syncMs.toFixed(2)} ms`
  )
}

/** One row a contestant: medians of its rounds. */
export function standingsTable({ standings }: Comparison): string {
  return markdownTable(
    [
      ...['', 'tokens/s', 'server CPU µs', 'Postgres CPU µs', 'p50 ms ¹', 'p99 ms ¹', 'p99.9 ms ¹'],
      ...['RSS MiB', 'first token ms ²', 'rows per token', 'failures', 'generator CPU µs ³']
    ],
    standings.map(({ name, rounds, coldStartMs }) => {
      const of = (read: (round: Round) => number): number => spread(rounds.map(read)).median
      const half = (read: (latencies: Latencies) => number): string => of(round => read(round.half)).toFixed(2)
      return [
        name,
        String(Math.round(of(round => round.tokensPerSecond))),
        of(round => round.serverUs).toFixed(0),
        of(round => round.postgresUs).toFixed(0),
        half(({ p50 }) => p50),
        half(({ p99 }) => p99),
        half(({ p999 }) => p999),
        of(round => round.residentMiB).toFixed(0),
        coldStartMs.toFixed(0),
        tidy(of(round => round.rowsPerToken)),
        String(rounds.reduce((sum, round) => sum + round.failures + round.half.failures, 0)),
        `${of(round => round.generatorUs).toFixed(0)} (${Math.round(of(round => round.generatorShare) * 100)} %)`
      ]
    })
  )
}

/** grantd over each of the others: medians of the rounds' ratios, with the least and the greatest. */
export function ratiosTable({ standings }: Comparison): string {
  const grantd = standings.find(({ kind }) => kind === 'grantd')
  if (grantd === undefined) return ''
  const others = standings.filter(standing => standing !== grantd)
  const ratio = (other: Standing, read: (round: Round) => number): string =>
    formatSpread(pairwiseRatio(grantd.rounds.map(read), other.rounds.map(read)))
  return markdownTable(
    [
      'grantd over',
      'tokens/s',
      'server CPU per token',
      'server + Postgres CPU per token',
      'p99 at half load, each its own'
    ],
    others.map(other => [
      other.name,
      ratio(other, round => round.tokensPerSecond),
      ratio(other, round => round.serverUs),
      ratio(other, round => round.serverUs + round.postgresUs),
      ratio(other, round => round.half.p99)
    ])
  )
}

export function targetsTable(targets: readonly Target[]): string {
  return markdownTable(
    ['grantd', 'measured', 'target', ''],
    targets.map(target => [
      target.what,
      `${formatSpread(target.value)} ${target.unit}`,
      `${'least' in target.wanted ? `≥ ${target.wanted.least}` : `≤ ${target.wanted.most}`} ${target.unit}`,
      isReached(target) ? 'reached' : `**not reached**${ceilingOf(target)}`
    ])
  )
}

function ceilingOf({ ceiling, unit }: Target): string {
  return ceiling === undefined ? '' : `; the ceiling itself is at ${tidy(ceiling.median)} ${unit}`
}

/** A machine that does other things takes turns from whoever waits for several processes, and from nobody evenly. */
const BUSY_SHARE = 0.05

/** How much else the machine did meanwhile, and what follows for a reader. */
export function foreignLine({ standings }: Comparison): string {
  const { median, min, max } = spread(standings.flatMap(({ rounds }) => rounds.map(round => round.foreignShare)))
  const [typical, least, greatest] = [median, min, max].map(share => Math.round(share * 100))
  const told = `Other programs took ${typical} % of the machine under full load (${least}–${greatest} %).`
  if (median < BUSY_SHARE) return told
  return `${told} **It was too busy: believe CPU per token and rows; tokens a second and latencies tell little.**`
}

/** `1.23 (1.1–1.4)`, or the value alone where there is but one. */
export function formatSpread({ median, min, max }: Spread): string {
  return min === max ? tidy(median) : `${tidy(median)} (${tidy(min)}–${tidy(max)})`
}

function tidy(value: number): string {
  if (value === 0) return '0'
  return value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2)
}
