import t from 'tap'
import { REFUSAL_REASONS } from '../../src/oauth/oauth-error.ts'
import { freePort } from '../fixtures/app/app.ts'
import { createDatabase } from '../fixtures/app/database.ts'
import { send } from '../fixtures/app/grantd.ts'
import { spawnServer, temporaryFolder, untilReady } from '../fixtures/run/process.ts'
import { ALERT_CASES } from './alert-cases.ts'
import { alerts, asGrafanaSends, panels, recordings } from './rules.ts'

interface Selector {
  name: string
  labels: [name: string, values: RegExp][]
}

/** Returns the series that an expression uses. `up` is made by Prometheus itself, and the others by a recording rule. */
function selectorsOf(expression: string): Selector[] {
  return [...expression.matchAll(/\b((?:grantd|process|nodejs)_\w+)(?:\{([^}]*)\})?/g)].map(
    ([, name = '', labels = '']) => ({
      name,
      labels: [...labels.matchAll(/(\w+)=~?"([^"]*)"/g)]
        .filter(([, label = '']) => !['job', 'instance'].includes(label))
        .map(([, label = '', values]) => [label, new RegExp(`^(${values})$`)])
    })
  )
}

t.test('every alert rule is complete, and promtool has a case for it', async t => {
  t.ok(alerts.length >= 15)
  t.same(Object.keys(ALERT_CASES).sort(), alerts.map(({ alert }) => alert).sort())
  for (const { alert, for: duration, labels, annotations } of alerts) {
    t.match(alert, /^Grantd[A-Z]\w+$/)
    t.match(duration, /^\d+[mhd]$/, alert)
    t.match(labels.severity, /^(critical|warning|info)$/, alert)
    t.match(annotations.summary, /\w/, alert)
    t.match(annotations.description, /\w/, alert)
  }
})

t.test('the dashboard has twelve panels, each with a title, a description and a unit', async t => {
  t.equal(panels.length, 12)
  t.equal(new Set(panels.map(({ title }) => title)).size, panels.length)
  for (const { title, description, fieldConfig, targets } of panels) {
    t.match(title, /^[A-Z]/)
    t.match(description, /\.$/, title)
    t.match(fieldConfig.defaults.unit, /\w/, title)
    t.ok(targets.length > 0, title)
  }
})

t.test('every recorded series that an alert rule or a panel uses is recorded', async t => {
  const recorded = new Set(recordings.map(({ record }) => record))
  const used = [...alerts, ...panels.flatMap(({ targets }) => targets)].flatMap(
    ({ expr }) => expr.match(/\bgrantd:\w+:\w+/g) ?? []
  )
  t.same([...new Set(used)].sort(), [...recorded].sort())
})

t.test('the error budget counts outcomes that exist', async t => {
  for (const { record, expr } of recordings) {
    for (const [, outcomes = ''] of expr.matchAll(/outcome=~"([^"]+)"/g)) {
      const known = ['issued', ...REFUSAL_REASONS]
      t.same(
        outcomes.split('|').filter(outcome => !known.includes(outcome)),
        [],
        record
      )
    }
  }
})

/** Appears with the first answer of its kind. */
const LATER = 'grantd_admin_requests_total'

t.test('every series that a rule or a panel uses is in a scrape of a new instance', async t => {
  const METRICS_PORT = String(await freePort())
  const server = await spawnServer(t, {
    METRICS_PORT,
    DATABASE_URL: await createDatabase(t),
    DATA_DIR: temporaryFolder(t)
  })
  await untilReady(server)
  const { text } = await send('GET', `http://127.0.0.1:${METRICS_PORT}/metrics`)
  const series = [...text.matchAll(/^(\w+)(?:\{(.*)\})? \S+$/gm)].map(([, name, labels = '']) => ({
    name,
    labels: Object.fromEntries([...labels.matchAll(/(\w+)="([^"]*)"/g)].map(([, label, value]) => [label, value]))
  }))
  const isScraped = ({ name, labels }: Selector) =>
    series.some(
      candidate =>
        candidate.name === name && labels.every(([label, value]) => value.test(candidate.labels[label] ?? ''))
    )
  const expressions = [...recordings, ...alerts, ...panels.flatMap(({ targets }) => targets)].map(({ expr }) => expr)
  for (const expression of expressions) {
    const selectors = selectorsOf(asGrafanaSends(expression, '1m'))
    t.ok(selectors.length > 0 || /\bup\{|grantd:/.test(expression), expression)
    for (const selector of selectors.filter(({ name }) => name !== LATER)) {
      t.ok(isScraped(selector), `${expression}: ${selector.name} ${selector.labels.join(' ')}`)
    }
  }
})
