import type { Spread } from '../statistics.ts'
import { formatSpread, markdownTable, tidy } from './table.ts'

/** A figure of grantd beside what it should be. */
export interface Target {
  what: string
  value: Spread
  unit: '×' | 'MiB' | 's' | 'µs' | 'rows' | 'requests'
  wanted: { least: number } | { most: number }
}

export function isReached({ value: { median }, wanted }: Target): boolean {
  return 'least' in wanted ? median >= wanted.least : median <= wanted.most
}

export function targetsTable(targets: readonly Target[]): string {
  return markdownTable(
    ['grantd', 'measured', 'target', ''],
    targets.map(target => [
      target.what,
      `${formatSpread(target.value)} ${target.unit}`,
      `${'least' in target.wanted ? `≥ ${target.wanted.least}` : `≤ ${target.wanted.most}`} ${target.unit}`,
      verdictOf(target)
    ])
  )
}

/** A target that is not reached is missed by a factor, unless it is zero. */
function verdictOf(target: Target): string {
  const { value, wanted } = target
  if (isReached(target)) return 'reached'
  const factor = 'least' in wanted ? wanted.least / value.median : value.median / wanted.most
  return Number.isFinite(factor) ? `**not reached**, by a factor of ${tidy(factor)}` : '**not reached**'
}
