import { readFileSync } from 'node:fs'
import path from 'node:path'
import t from 'tap'
import { parse } from 'yaml'
import { freePort } from '../fixtures/app/app.ts'
import { createDatabase } from '../fixtures/app/database.ts'
import { send } from '../fixtures/app/grantd.ts'
import { ROOT } from '../fixtures/run/paths.ts'
import { spawnServer, temporaryFolder, untilReady } from '../fixtures/run/process.ts'

interface Rule {
  alert: string
  expr: string
  for: string
  labels: { severity: string }
  annotations: { summary: string; description: string }
}

const { groups } = parse(readFileSync(path.join(ROOT, 'ops/alerts.yml'), 'utf8'))
const rules: Rule[] = groups.flatMap((group: { rules: Rule[] }) => group.rules)

/** Returns the series that a rule uses, each with the patterns of its labels. */
function selectorsOf({ expr }: Rule): { name: string; labels: [string, RegExp][] }[] {
  return [...expr.matchAll(/\b(grantd_\w+|up)\b(?:\{([^}]*)\})?/g)].map(([, name = '', labels = '']) => ({
    name,
    labels: [...labels.matchAll(/(\w+)=~?"([^"]*)"/g)].map(([, label = '', value]) => [
      label,
      new RegExp(`^(${value})$`)
    ])
  }))
}

t.test('every alert rule is complete', async t => {
  t.ok(rules.length >= 6)
  t.equal(new Set(rules.map(({ alert }) => alert)).size, rules.length)
  for (const { alert, for: duration, labels, annotations } of rules) {
    t.match(alert, /^Grantd[A-Z]\w+$/)
    t.match(duration, /^\d+[mhd]$/, alert)
    t.match(labels.severity, /^(critical|warning|info)$/, alert)
    t.match(annotations.summary, /\w/, alert)
    t.match(annotations.description, /\w/, alert)
  }
})

t.test('every series that a rule uses is in a scrape of a new instance', async t => {
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
  for (const rule of rules) {
    const selectors = selectorsOf(rule)
    t.ok(selectors.length > 0, rule.alert)
    // Prometheus itself makes `up`.
    for (const { name, labels } of selectors.filter(selector => selector.name !== 'up')) {
      const found = series.some(
        candidate =>
          candidate.name === name && labels.every(([label, value]) => value.test(candidate.labels[label] ?? ''))
      )
      t.ok(found, `${rule.alert}: ${name} ${labels.join(' ')}`)
    }
  }
})
