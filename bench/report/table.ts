import type { Machine } from '../machine.ts'
import type { Spread } from '../statistics.ts'

export function markdownTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`
  return [line(head), `|${head.map(() => '---').join('|')}|`, ...rows.map(line)].join('\n')
}

/** Returns one line that says where and when figures were taken. */
export function machineLine(machine: Machine): string {
  const { date, cpu, cores, memoryGiB, system, node, postgres, busyShare, sync } = machine
  return (
    `${date}, ${cpu}, ${cores} cores, ${memoryGiB} GiB, ${system}, Node ${node}, PostgreSQL ${postgres}. ` +
    `Before the bench, other programs took ${Math.round(busyShare * 100)} % of the machine, and a page was on the disk after ` +
    `${sync.p50.toFixed(2)} ms (one in a hundred: ${sync.p99.toFixed(2)} ms).`
  )
}

/** Returns `1.23 (1.1–1.4)`, or only the value when all rounds agree. */
export function formatSpread({ median, min, max }: Spread): string {
  return min === max ? tidy(median) : `${tidy(median)} (${tidy(min)}–${tidy(max)})`
}

/** Returns a number with three significant digits, or with all digits before the point. */
export function tidy(value: number): string {
  if (value === 0) return '0'
  if (value >= 1_000) return Math.round(value).toLocaleString('en')
  return value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2)
}
