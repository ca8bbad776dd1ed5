import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import Fastify from 'fastify'
import { type Kysely, sql } from 'kysely'
import t, { type Test } from 'tap'
import { auditRetention } from '../../src/audit/plugin.ts'
import { pruneChains } from '../../src/audit/prune.ts'
import { recordEvent } from '../../src/audit/record.ts'
import { loadConfig } from '../../src/config/config.ts'
import type { Database } from '../../src/database/schema.ts'
import { HOUR_MS } from '../../src/time.ts'
import { eventOf, tamper, verdicts } from '../fixtures/app/audit.ts'
import { asServingRole, createDatabase, openTestDatabase, query } from '../fixtures/app/database.ts'
import { DAY_MS } from '../fixtures/app/registration.ts'
import { ROOT } from '../fixtures/run/paths.ts'
import { until } from '../fixtures/run/until.ts'

/** A hundred days ago, and an hour less, so that no event is at the border of a whole number of days. */
const START = Date.now() - 100 * DAY_MS + HOUR_MS

async function emptyAudit(t: Test) {
  const url = await createDatabase(t)
  return { url, db: openTestDatabase(t, url) }
}

/** An event on each of these days. */
async function recordDays(db: Kysely<Database>, siteId: string, days: readonly number[]): Promise<void> {
  for (const [index, day] of days.entries()) {
    await db.transaction().execute(trx => recordEvent(trx, eventOf(siteId, index, START + day * DAY_MS)))
  }
}

function sequences(url: string): Promise<unknown[]> {
  return query(
    url,
    'select site_id, array_agg(sequence order by sequence) as sequences from audit_events group by 1 order by 1'
  )
}

const isWhole = async (db: Kysely<Database>) => (await verdicts(db)).every(({ broken }) => broken === undefined)

t.test('pruning deletes the oldest events of each Site, and the chains still verify and continue', async t => {
  const { url, db } = await emptyAudit(t)
  await recordDays(db, 'acme', [0, 1, 2, 3, 4])
  await recordDays(db, 'globex', [3, 4])
  await recordDays(db, 'umbrella', [0, 1])
  t.equal(await pruneChains(db, 98), 4)
  t.same(await sequences(url), [
    { site_id: 'acme', sequences: [3, 4, 5] },
    { site_id: 'globex', sequences: [1, 2] }
  ])
  t.ok(await isWhole(db))
  t.equal(await pruneChains(db, 98), 0, 'again deletes nothing')
  await recordDays(db, 'umbrella', [5])
  await recordDays(db, 'acme', [5])
  t.same(await sequences(url), [
    { site_id: 'acme', sequences: [3, 4, 5, 6] },
    { site_id: 'globex', sequences: [1, 2] },
    { site_id: 'umbrella', sequences: [3] }
  ])
  t.ok(await isWhole(db))
})

t.test('an old event after a younger one stays, so that the chain has no gap', async t => {
  const { url, db } = await emptyAudit(t)
  await recordDays(db, 'acme', [0, 5, 1, 6])
  t.equal(await pruneChains(db, 98), 1)
  t.same(await sequences(url), [{ site_id: 'acme', sequences: [2, 3, 4] }])
  t.ok(await isWhole(db))
})

t.test('a deletion beyond the retention is reported as a fault', async t => {
  const { url, db } = await emptyAudit(t)
  await recordDays(db, 'acme', [0, 1, 2, 3, 4])
  await pruneChains(db, 98)
  await tamper(url, 'delete from audit_events where sequence = 3')
  const [verdict] = await verdicts(db)
  t.same(verdict?.broken, { sequence: 3, fault: 'missing' })
})

t.test('a long chain is pruned in batches, also by two instances at once while it grows', async t => {
  const { url, db } = await emptyAudit(t)
  await db.transaction().execute(async trx => {
    for (let index = 0; index < 2_500; index++) await recordEvent(trx, eventOf('acme', index, START))
  })
  const [one, other] = await Promise.all([pruneChains(db, 99), pruneChains(db, 99), recordDays(db, 'acme', [1, 1, 1])])
  t.equal(one + other, 2_500)
  t.same(await sequences(url), [{ site_id: 'acme', sequences: [2_501, 2_502, 2_503] }])
  t.ok(await isWhole(db))
})

t.test('events of the last 30 days stay, whatever the serving role asks for', async t => {
  const { url, db } = await emptyAudit(t)
  await recordDays(db, 'acme', [0, 69, 71, 99])
  const serving = openTestDatabase(t, asServingRole(url))
  for (const days of [30, 1, 0, -1_000]) await pruneChains(serving, days)
  t.same(await sequences(url), [{ site_id: 'acme', sequences: [3, 4] }])
  await t.rejects(sql`delete from audit_events`.execute(serving), /permission denied/)
  await t.rejects(sql`update audit_chains set pruned_sequence = 3`.execute(serving), /permission denied/)
  t.ok(await isWhole(db))
})

t.test('a chain whose oldest event is missing is left as it is', async t => {
  const { url, db } = await emptyAudit(t)
  await recordDays(db, 'acme', [0, 1, 2])
  await recordDays(db, 'globex', [0])
  await tamper(url, "delete from audit_events where site_id = 'acme' and sequence = 1")
  t.equal(await pruneChains(db, 30), 1)
  const [verdict] = await verdicts(db)
  t.same(verdict?.broken, { sequence: 1, fault: 'missing' })
})

t.test('grantd deletes events older than AUDIT_RETENTION_DAYS itself, by default after 400 days', async t => {
  const { url, db } = await emptyAudit(t)
  await recordDays(db, 'acme', [-301, -299, 0])
  const serving = openTestDatabase(t, asServingRole(url))
  t.equal(loadConfig({}).audit.retentionDays, 400)
  for (const [retentionDays, left] of [
    [0, [1, 2, 3]],
    [loadConfig({}).audit.retentionDays, [2, 3]]
  ] as const) {
    const app = Fastify()
    await app.register(auditRetention, { db: serving, retentionDays, intervalMs: 5, firstAfterMs: 5 })
    await app.ready()
    await until('the events are as expected', async () => {
      const [row] = await sequences(url)
      return JSON.stringify(Object(row).sequences) === JSON.stringify(left)
    })
    await app.close()
  }
  t.ok(await isWhole(db))
})

t.test('npm run audit:prune deletes in the serving role, and nothing when AUDIT_RETENTION_DAYS is 0', async t => {
  const { url, db } = await emptyAudit(t)
  await recordDays(db, 'acme', [-400, 99])
  const { PATH = '' } = process.env
  const prune = (environment: Record<string, string>) =>
    promisify(execFile)(process.execPath, ['src/commands/prune-audit.ts'], {
      cwd: ROOT,
      env: { PATH, DATABASE_URL: asServingRole(url), ...environment }
    })
  t.match((await prune({ AUDIT_RETENTION_DAYS: '0' })).stdout, /never deleted/)
  await t.rejects(prune({ AUDIT_RETENTION_DAYS: '29' }), { code: 1, stderr: /AUDIT_RETENTION_DAYS must be 0 or/ })
  t.same(await sequences(url), [{ site_id: 'acme', sequences: [1, 2] }])
  t.match((await prune({})).stdout, /^1 audit events older than 400 days deleted/)
  t.same(await sequences(url), [{ site_id: 'acme', sequences: [2] }])
  t.ok(await isWhole(db))
})
