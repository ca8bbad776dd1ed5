import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import type { Kysely } from 'kysely'
import t, { type Test } from 'tap'
import { pruneChains } from '../../src/audit/prune.ts'
import { recordEvent } from '../../src/audit/record.ts'
import type { Database } from '../../src/database/schema.ts'
import { eventOf, tamper, verdicts } from '../fixtures/app/audit.ts'
import { asServingRole, createDatabase, openTestDatabase, query } from '../fixtures/app/database.ts'
import { DAY_MS } from '../fixtures/app/registration.ts'
import { ROOT } from '../fixtures/run/paths.ts'

const START = Date.parse('2026-11-01T00:00:00.000Z')

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

t.test('pruning deletes the oldest end of each Site and leaves chains that verify and go on', async t => {
  const { url, db } = await emptyAudit(t)
  await recordDays(db, 'acme', [0, 1, 2, 3, 4])
  await recordDays(db, 'globex', [3, 4])
  await recordDays(db, 'umbrella', [0, 1])
  t.equal(await pruneChains(db, START + 2 * DAY_MS), 4)
  t.same(await sequences(url), [
    { site_id: 'acme', sequences: [3, 4, 5] },
    { site_id: 'globex', sequences: [1, 2] }
  ])
  t.ok(await isWhole(db))
  t.equal(await pruneChains(db, START + 2 * DAY_MS), 0, 'again deletes nothing')
  await recordDays(db, 'umbrella', [5])
  await recordDays(db, 'acme', [5])
  t.same(await sequences(url), [
    { site_id: 'acme', sequences: [3, 4, 5, 6] },
    { site_id: 'globex', sequences: [1, 2] },
    { site_id: 'umbrella', sequences: [3] }
  ])
  t.ok(await isWhole(db))
})

t.test('an old event behind a young one stays with it: what is left has no gap', async t => {
  const { url, db } = await emptyAudit(t)
  await recordDays(db, 'acme', [0, 5, 1, 6])
  t.equal(await pruneChains(db, START + 2 * DAY_MS), 1)
  t.same(await sequences(url), [{ site_id: 'acme', sequences: [2, 3, 4] }])
  t.ok(await isWhole(db))
})

t.test('what was deleted beyond retention is not taken for pruned', async t => {
  const { url, db } = await emptyAudit(t)
  await recordDays(db, 'acme', [0, 1, 2, 3, 4])
  await pruneChains(db, START + 2 * DAY_MS)
  await tamper(url, 'delete from audit_events where sequence = 3')
  const [verdict] = await verdicts(db)
  t.same(verdict?.broken, { sequence: 3, fault: 'missing' })
})

t.test('a long chain is pruned in batches, by two at once, while it grows', async t => {
  const { url, db } = await emptyAudit(t)
  await db.transaction().execute(async trx => {
    for (let index = 0; index < 2_500; index++) await recordEvent(trx, eventOf('acme', index, START))
  })
  const [one, other] = await Promise.all([
    pruneChains(db, START + 1),
    pruneChains(db, START + 1),
    recordDays(db, 'acme', [1, 1, 1])
  ])
  t.equal(one + other, 2_500)
  t.same(await sequences(url), [{ site_id: 'acme', sequences: [2_501, 2_502, 2_503] }])
  t.ok(await isWhole(db))
})

t.test('npm run audit:prune needs the owner, and keeps all unless told how long', async t => {
  const { url, db } = await emptyAudit(t)
  await recordDays(db, 'acme', [-400])
  await db.transaction().execute(trx => recordEvent(trx, eventOf('acme')))
  const { PATH = '' } = process.env
  const prune = (environment: Record<string, string>) =>
    promisify(execFile)(process.execPath, ['src/commands/prune-audit.ts'], { cwd: ROOT, env: { PATH, ...environment } })
  t.match((await prune({ DATABASE_URL: url })).stdout, /never deleted/)
  t.match((await prune({ DATABASE_URL: url, AUDIT_RETENTION_DAYS: '0' })).stdout, /never deleted/)
  await t.rejects(prune({ DATABASE_URL: asServingRole(url), AUDIT_RETENTION_DAYS: '30' }), {
    code: 1,
    stderr: /permission denied/
  })
  t.same(await sequences(url), [{ site_id: 'acme', sequences: [1, 2] }])
  const { stdout } = await prune({
    DATABASE_URL: asServingRole(url),
    MIGRATION_DATABASE_URL: url,
    AUDIT_RETENTION_DAYS: '30'
  })
  t.match(stdout, /^1 audit events before \d{4}-/)
  t.same(await sequences(url), [{ site_id: 'acme', sequences: [2] }])
  t.ok(await isWhole(db))
})
