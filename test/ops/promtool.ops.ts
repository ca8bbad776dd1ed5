import { spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import path from 'node:path'
import t from 'tap'
import { stringify } from 'yaml'
import { leftOutFor } from '../fixtures/faults/debian.ts'
import { temporaryFolder } from '../fixtures/run/process.ts'
import { ALERT_CASES, type AlertCase } from './alert-cases.ts'
import { PROMETHEUS } from './prometheus.ts'
import { ALERTS_FILE, type Alert, alerts } from './rules.ts'

const skip = leftOutFor(PROMETHEUS)

t.test('promtool accepts ops/alerts.yml', { skip }, async t => {
  const { status, stdout, stderr } = spawnSync('promtool', ['check', 'rules', ALERTS_FILE], { encoding: 'utf8' })
  t.equal(status, 0, stderr)
  t.comment(stdout.trim())
})

for (const rule of alerts) {
  t.test(`${rule.alert} fires when it should, and at no other time (promtool test rules)`, { skip }, async t => {
    const alertCase = ALERT_CASES[rule.alert]
    if (alertCase === undefined) throw new Error('no case')
    const file = path.join(temporaryFolder(t), 'rules.test.yml')
    writeFileSync(file, testFile(rule, alertCase))
    const { status, stdout, stderr } = spawnSync('promtool', ['test', 'rules', file], { encoding: 'utf8' })
    t.equal(status, 0, `${stdout}${stderr}`)
  })
}

/** Returns what promtool reads: the alert fires at its time, in each way that it can, and never in the quiet case. */
function testFile({ alert, labels, annotations }: Alert, alertCase: AlertCase): string {
  const { fires, orFires, quiet, at } = alertCase
  const series = (values: Record<string, string>) =>
    Object.entries(values).map(([name, points]) => ({ series: name, values: points }))
  const firing = (expected: Pick<AlertCase, 'value' | 'labels'>) => ({
    exp_labels: { ...labels, ...expected.labels },
    exp_annotations: {
      summary: filled(annotations.summary, expected),
      description: filled(annotations.description, expected)
    }
  })
  const ways = [{ ...alertCase, series: fires }, ...(orFires === undefined ? [] : [orFires])]
  const minutes = Array.from({ length: minutesOf(at) / STEP_MINUTES }, (_, step) => `${(step + 1) * STEP_MINUTES}m`)
  return stringify({
    rule_files: [ALERTS_FILE],
    evaluation_interval: '1m',
    tests: [
      ...ways.map(way => ({
        interval: '1m',
        input_series: series(way.series),
        alert_rule_test: [{ eval_time: at, alertname: alert, exp_alerts: [firing(way)] }]
      })),
      {
        interval: '1m',
        input_series: series(quiet),
        alert_rule_test: [...minutes, at].map(time => ({ eval_time: time, alertname: alert, exp_alerts: [] }))
      }
    ]
  })
}

const STEP_MINUTES = 5

function minutesOf(duration: string): number {
  const count = Number.parseInt(duration, 10)
  return duration.endsWith('h') ? count * 60 : count
}

/** Returns an annotation as Prometheus fills it in. */
function filled(text: string, { value = '', labels = {} }: Pick<AlertCase, 'value' | 'labels'>): string {
  return text
    .replaceAll(/\{\{ \$value.*?\}\}/g, value)
    .replaceAll(/\{\{ \$labels\.(\w+) \}\}/g, (_, label: string) => labels[label] ?? '')
}
