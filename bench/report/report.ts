import { readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { ROOT } from '../contestants/processes.ts'
import { type Conditions, doubtsOf } from '../doubts.ts'
import type { Machine } from '../machine.ts'
import { machineLine } from './table.ts'
import { type Target, targetsTable } from './target.ts'

/** The findings of one run of the bench. */
export interface Result {
  title: string
  /** How the servers were loaded: whole sentences. */
  load: string
  /** Its tables, Markdown. */
  body: string
  targets: readonly Target[]
  foreignShares: readonly number[]
  /** SVG, for the run that has a chart. */
  chart?: string
}

/**
 * Returns a result as a section of results.md.
 *
 * @param doubts from doubtLine
 */
export function sectionOf(result: Result, machine: Machine, doubts: string): string {
  const { title, load, body, targets } = result
  return [
    `## ${title}`,
    `${machineLine(machine)} ${load}`,
    doubts,
    body,
    ...(targets.length === 0 ? [] : [targetsTable(targets)])
  ].join('\n\n')
}

/** Returns one line that says whether to believe the figures. */
export function doubtLine(machine: Machine, conditions: Conditions): string {
  const doubts = doubtsOf(machine, conditions)
  if (doubts.length === 0) return 'The machine was quiet.'
  return `**Do not believe these figures**: ${doubts.join('; ')}. CPU per token and rows suffer least.`
}

const INTRODUCTION = `# Benchmark results

\`npm run bench -- <run>\` replaces one section of this file. Compare figures only inside one section. Ratios are medians of the ratios
of the same round, with the least and the greatest. [README.md](README.md) describes the runs.
`

/** Returns results.md with the section of this run replaced, or appended when it is new. */
export function withSection(results: string, run: string, section: string): string {
  const text = results.startsWith(INTRODUCTION) ? results : INTRODUCTION
  const marked = `<!-- run: ${run} -->\n\n${section}\n\n<!-- end -->`
  const existing = new RegExp(`<!-- run: ${run} -->[\\s\\S]*?<!-- end -->`)
  return existing.test(text) ? text.replace(existing, () => marked) : `${text}\n${marked}\n`
}

const SPEED = /(<!-- speed: npm run bench -->\n)[\s\S]*?(<!-- end -->)/

/** Returns this README with the result of the last comparison. */
export function withSpeed(readme: string, { targets }: Result, machine: Machine, doubts: string): string {
  const section = [
    '![Tokens per second, CPU per token and the slowest 1 % of grantd, its ceilings and its peers](bench/results.svg)',
    targetsTable(targets),
    `Ratios are medians of the rounds (least–greatest). ${machineLine(machine)} ${doubts}`
  ].join('\n\n')
  return readme.replace(SPEED, (_, start: string, end: string) => `${start}\n${section}\n\n${end}`)
}

const RESULTS_FILE = path.join(ROOT, 'bench/results.md')
const CHART_FILE = path.join(ROOT, 'bench/results.svg')
const README_FILE = path.join(ROOT, 'README.md')

/** Writes the section into results.md. A run with a chart also updates the chart and the README. */
export function keep(run: string, result: Result, machine: Machine, doubts: string): void {
  const section = sectionOf(result, machine, doubts)
  writeFileSync(RESULTS_FILE, withSection(readFileSync(RESULTS_FILE, 'utf8'), run, section))
  if (result.chart === undefined) return
  writeFileSync(CHART_FILE, result.chart)
  writeFileSync(README_FILE, withSpeed(readFileSync(README_FILE, 'utf8'), result, machine, doubts))
}
