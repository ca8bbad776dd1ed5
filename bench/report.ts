import { readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { drawChart } from './chart.ts'
import type { Comparison, Standing } from './comparison.ts'
import type { Machine } from './machine.ts'
import type { Round } from './measure.ts'
import { ROOT } from './processes.ts'
import { spread } from './statistics.ts'
import { foreignLine, machineLine, ratiosTable, standingsTable, targetsTable } from './table.ts'
import { targetsOf } from './targets.ts'

const NOTES = `¹ At half of its own full load, in an open loop; counted from the instant at which a request was due.
² From spawn to the first token, of a second process beside the first on the same database.
³ What the load generator took per token in the closed loop, and of one core; not in the other columns.

The machine is noisy: ratios are medians of the rounds' own ratios, with the least and the greatest.`

/** What a comparison came to, as Markdown. */
export function reportOf(comparison: Comparison, machine: Machine, load: string): string {
  return [
    '# Benchmark',
    `${machineLine(machine, comparison.postgresVersion)}. ${load}`,
    foreignLine(comparison),
    standingsTable(comparison),
    NOTES,
    '## Ratios',
    ratiosTable(comparison),
    '## Targets',
    targetsTable(targetsOf(comparison)),
    'What each of them does for a token, and what is not comparable: [README.md](README.md).\n'
  ].join('\n\n')
}

/** The same as a picture. */
export function pictureOf({ standings, postgresVersion }: Comparison, machine: Machine): string {
  const shown = standings.filter(({ kind }) => kind !== 'static')
  const bars = (...reads: ((round: Round) => number)[]) =>
    shown.map(standing => ({
      label: labelOf(standing),
      isOurs: standing.kind === 'grantd',
      parts: reads.map(read => spread(standing.rounds.map(read)).median)
    }))
  const { cpu, cores, node } = machine
  return drawChart(
    'grantd beside its peers',
    [
      { title: 'Tokens per second, one process', bars: bars(round => round.tokensPerSecond) },
      {
        title: 'CPU per token, microseconds',
        legend: ['server', 'Postgres'],
        bars: bars(
          round => round.serverUs,
          round => round.postgresUs
        )
      }
    ],
    `${cpu}, ${cores} cores, Node ${node}, PostgreSQL ${postgresVersion}; the same Postgres for all, medians of ${shown[0]?.rounds.length} rounds`
  )
}

function labelOf({ name, kind }: Standing): string {
  return kind === 'ceiling' ? `${name}, no database` : name
}

const SPEED = /(<!-- speed: npm run bench -->\n)[\s\S]*?(<!-- end -->)/

/** @returns this README with what the last run came to */
export function withSpeed(readme: string, comparison: Comparison, machine: Machine): string {
  const section = [
    '![Tokens per second and CPU per token of grantd, its ceiling and its peers](bench/results.svg)',
    targetsTable(targetsOf(comparison)),
    `Ratios of one run, medians of its rounds (least–greatest). ${machineLine(machine, comparison.postgresVersion)}.`,
    foreignLine(comparison)
  ].join('\n\n')
  return readme.replace(SPEED, (_, start: string, end: string) => `${start}\n${section}\n\n${end}`)
}

const README_FILE = path.join(ROOT, 'README.md')

/** Here, and in the project's README. */
export function keepReport(report: string, comparison: Comparison, machine: Machine): void {
  writeFileSync(path.join(import.meta.dirname, 'results.md'), report)
  writeFileSync(path.join(import.meta.dirname, 'results.svg'), pictureOf(comparison, machine))
  writeFileSync(README_FILE, withSpeed(readFileSync(README_FILE, 'utf8'), comparison, machine))
}
