import { readFileSync } from 'node:fs'
import path from 'node:path'
import { parse } from 'yaml'
import { ROOT } from '../fixtures/run/paths.ts'

/** A rule that stores the result of an expression as a series. */
export interface Recording {
  record: string
  expr: string
}

export interface Alert {
  alert: string
  expr: string
  for: string
  labels: { severity: string }
  annotations: { summary: string; description: string }
}

export interface Panel {
  title: string
  description: string
  fieldConfig: { defaults: { unit: string } }
  targets: { expr: string; legendFormat: string }[]
}

export const ALERTS_FILE = path.join(ROOT, 'ops/alerts.yml')

const { groups }: { groups: { rules: (Recording | Alert)[] }[] } = parse(readFileSync(ALERTS_FILE, 'utf8'))
const rules = groups.flatMap(group => group.rules)
export const recordings = rules.filter(rule => 'record' in rule)
export const alerts = rules.filter(rule => 'alert' in rule)

/** The panels of the Grafana dashboard. */
export const { panels }: { panels: Panel[] } = JSON.parse(readFileSync(path.join(ROOT, 'ops/dashboard.json'), 'utf8'))

/** Returns an expression of the dashboard as Grafana sends it to Prometheus, for all instances. */
export function asGrafanaSends(expression: string, rateInterval: string): string {
  return expression.replaceAll('$__rate_interval', rateInterval).replaceAll('$instance', '.*')
}
