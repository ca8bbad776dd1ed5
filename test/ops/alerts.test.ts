import { readFileSync } from 'node:fs'
import path from 'node:path'
import t from 'tap'
import { parse } from 'yaml'
import { REGISTRATION_STATES } from '../../src/registrations/lifecycle.ts'
import { ROOT } from '../fixtures/paths.ts'

const METRICS = [
  ...REGISTRATION_STATES.map(state => `grantd_registrations{state="${state}"}`),
  'grantd_notice_deliveries_total',
  'grantd_notice_deliveries_dead',
  'up{job="grantd"}'
]

t.test('every alert rule is complete and asks of metrics that there are', async t => {
  const { groups } = parse(readFileSync(path.join(ROOT, 'ops/alerts.yml'), 'utf8'))
  const rules = groups.flatMap(Object).flatMap((group: { rules: unknown[] }) => group.rules.map(Object))
  t.ok(rules.length >= 6)
  t.equal(new Set(rules.map(({ alert }: { alert: string }) => alert)).size, rules.length)
  for (const { alert, expr, for: duration, labels, annotations } of rules) {
    t.match(alert, /^Grantd[A-Z]\w+$/)
    t.match(duration, /^\d+[mhd]$/, alert)
    t.match(labels.severity, /^(critical|warning|info)$/, alert)
    t.match(annotations.summary, /\w/, alert)
    t.match(annotations.description, /\w/, alert)
    for (const metric of expr.match(/\b(?:grantd_\w+(?:\{state="\w+"\})?|up\{[^}]*\})/g) ?? ['none']) {
      t.ok(METRICS.includes(metric), `${alert}: ${metric}`)
    }
  }
})
