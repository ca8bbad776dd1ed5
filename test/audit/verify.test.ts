import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import type { Kysely } from 'kysely'
import t, { type Test } from 'tap'
import { hashEvent } from '../../src/audit/chain.ts'
import { recordEvent } from '../../src/audit/record.ts'
import { listChain } from '../../src/audit/repository.ts'
import type { Database } from '../../src/database/schema.ts'
import { eventOf, tamper, verdicts } from '../fixtures/app/audit.ts'
import { asServingRole, createDatabase, openTestDatabase, query } from '../fixtures/app/database.ts'
import { ROOT } from '../fixtures/run/paths.ts'

const EVENTS = 7

/** A database with so many events in each of three Sites. */
async function auditedDatabase(t: Test, events = EVENTS) {
  const url = await createDatabase(t)
  const db = openTestDatabase(t, url)
  for (const siteId of ['acme', 'umbrella', 'Zeta.1']) {
    for (let index = 0; index < events; index++) {
      await db.transaction().execute(trx => recordEvent(trx, eventOf(siteId, index)))
    }
  }
  return { url, db }
}

/** `npm run audit:verify` on this database, in the serving role. */
async function verify(url: string): Promise<{ code: number; output: string }> {
  const { PATH = '' } = process.env
  const run = promisify(execFile)(process.execPath, ['src/commands/verify-audit.ts'], {
    cwd: ROOT,
    env: { PATH, DATABASE_URL: asServingRole(url) }
  })
  const {
    stdout,
    stderr,
    code = 0
  } = await run.then(
    output => ({ ...output, code: 0 }),
    error => error
  )
  return { code, output: stdout + stderr }
}

t.test('audit:verify exits with 0 and prints counts for an unchanged database', async t => {
  const { url } = await auditedDatabase(t)
  t.same(await verify(url), { code: 0, output: 'Sites: 3, events: 21, Sites with a fault: 0\n' })
  t.same(await verify(await createDatabase(t)), { code: 0, output: 'Sites: 0, events: 0, Sites with a fault: 0\n' })
})

// [AUDIT-1]
t.test('a change of any column of an event by a superuser is found, and the event is named', async t => {
  const { url, db } = await auditedDatabase(t)
  const [original] = await query(url, `select * from audit_events where site_id = 'umbrella' and sequence = 4`)
  const columns = await query(
    url,
    `select column_name as name from information_schema.columns where table_name = 'audit_events'`
  )
  const tampering: Record<string, string> = {
    occurred_at: `occurred_at + interval '1 millisecond'`,
    action: `'registration.created'`,
    subject: `'k3v9x2m7q1w8z5t4r6y1'`,
    actor: `'eve'`,
    actor_issuer: `'https://other.example.com'`,
    request_id: `'req-2'`,
    source: `'192.0.2.2'`,
    changes: `'{}'`,
    previous_hash: `decode(repeat('11', 32), 'hex')`,
    hash: `decode(repeat('11', 32), 'hex')`
  }
  t.same(
    Object.keys(tampering).sort(),
    columns
      .map(column => String(Object(column).name))
      .filter(name => !['site_id', 'sequence'].includes(name))
      .sort(),
    'every column has its attack'
  )
  for (const [column, value] of Object.entries(tampering)) {
    await tamper(url, `update audit_events set ${column} = ${value} where site_id = 'umbrella' and sequence = 4`)
    t.same(await brokenSites(db), [['umbrella', 4, 'changed']], column)
    await tamper(
      url,
      `update audit_events e set ${column} = o.${column} from (select * from jsonb_populate_record(null::audit_events,
        '${JSON.stringify(original, bytesAsText)}'::jsonb)) o where e.site_id = 'umbrella' and e.sequence = 4`
    )
    t.same(await brokenSites(db), [], `${column} is as it was`)
  }
})

/** As Postgres reads it from JSON. */
function bytesAsText(_name: string, value: unknown): unknown {
  const isBytes = typeof value === 'object' && value !== null && 'type' in value && value.type === 'Buffer'
  return isBytes && 'data' in value && Array.isArray(value.data)
    ? `\\x${Buffer.from(value.data).toString('hex')}`
    : value
}

async function brokenSites(db: Kysely<Database>) {
  return (await verdicts(db)).flatMap(({ siteId, broken }) =>
    broken === undefined ? [] : [[siteId, broken.sequence, broken.fault]]
  )
}

for (const [what, statements, expected] of [
  ['removed in the middle', [`delete from audit_events where site_id = 'acme' and sequence = 3`], [3, 'missing']],
  ['removed at the end', [`delete from audit_events where site_id = 'acme' and sequence = 7`], [7, 'missing']],
  ['several removed at the end', [`delete from audit_events where site_id = 'acme' and sequence > 4`], [5, 'missing']],
  ['removed at the beginning', [`delete from audit_events where site_id = 'acme' and sequence = 1`], [1, 'missing']],
  ['all of a Site removed', [`delete from audit_events where site_id = 'acme'`], [1, 'missing']],
  [
    'put in another order',
    [
      `update audit_events set sequence = -3 where site_id = 'acme' and sequence = 3`,
      `update audit_events set sequence = 3 where site_id = 'acme' and sequence = 5`,
      `update audit_events set sequence = 5 where site_id = 'acme' and sequence = -3`
    ],
    [3, 'changed']
  ],
  [
    'removed, and those behind it moved up',
    [
      `delete from audit_events where site_id = 'acme' and sequence = 3`,
      `update audit_events set sequence = sequence - 100 where site_id = 'acme' and sequence > 3`,
      `update audit_events set sequence = sequence + 99 where site_id = 'acme' and sequence < 0`
    ],
    [3, 'changed']
  ],
  [
    'removed at the end, and the end of the chain set back',
    [
      `delete from audit_events where site_id = 'acme' and sequence = 7`,
      `update audit_chains set sequence = 6 where site_id = 'acme'`
    ],
    [6, 'changed']
  ],
  [
    'removed at the beginning, as if by retention',
    [
      `delete from audit_events where site_id = 'acme' and sequence <= 2`,
      `update audit_chains set pruned_sequence = 2 where site_id = 'acme'`
    ],
    [3, 'changed']
  ],
  [
    "moved to another Site's chain",
    [`update audit_events set site_id = 'acme', sequence = 8 where site_id = 'umbrella' and sequence = 7`],
    [8, 'added']
  ],
  ['without an end', [`delete from audit_chains where site_id = 'acme'`], [1, 'endless']]
] as const) {
  t.test(`events that were ${what} are noticed, and the first of them is named`, async t => {
    const { url, db } = await auditedDatabase(t)
    await tamper(url, ...statements)
    t.same((await brokenSites(db))[0], ['acme', ...expected])
  })
}

t.test('an event that was hashed again is found by the next event, or by the end of the chain', async t => {
  const { url, db } = await auditedDatabase(t)
  for (const sequence of [4, EVENTS]) {
    const [event] = await listChain(db, 'acme', sequence - 1, 1)
    if (event === undefined) throw new Error('no event')
    const forged = hashEvent({ ...event, actor: 'eve' }).toString('hex')
    const where = `where site_id = 'acme' and sequence = ${sequence}`
    await tamper(url, `update audit_events set actor = 'eve', hash = '\\x${forged}' ${where}`)
    t.same(await brokenSites(db), [['acme', sequence, 'changed']])
    await tamper(
      url,
      `update audit_events set actor = '${event.actor}', hash = '\\x${event.hash.toString('hex')}' ${where}`
    )
  }
})

t.test('npm run audit:verify names the first event of every Site with a fault, and exits with 1', async t => {
  const { url } = await auditedDatabase(t)
  await tamper(
    url,
    `update audit_events set actor = 'eve' where site_id = 'acme' and sequence in (3, 5)`,
    `delete from audit_events where site_id = 'Zeta.1' and sequence = 7`
  )
  const { code, output } = await verify(url)
  t.equal(code, 1)
  t.match(output, 'Site acme: audit event 3 was changed\n')
  t.match(output, 'Site Zeta.1: audit event 7 is missing\n')
  t.match(output, 'Sites: 3, events: 20, Sites with a fault: 2\n')
})

t.test('a chain that is longer than a page is verified over all its pages while it grows', async t => {
  const url = await createDatabase(t)
  const db = openTestDatabase(t, url)
  await db.transaction().execute(async trx => {
    for (let index = 0; index < 2_500; index++) await recordEvent(trx, eventOf('acme', index))
  })
  let isGrowing = true
  const growing = (async () => {
    for (let index = 0; isGrowing; index++) {
      await db.transaction().execute(trx => recordEvent(trx, eventOf('acme', index)))
    }
  })()
  for (let round = 0; round < 5; round++) {
    const [verdict] = await verdicts(db)
    t.equal(verdict?.broken, undefined)
    t.ok(Number(verdict?.events) >= 2_500)
  }
  isGrowing = false
  await growing
  await tamper(url, `update audit_events set actor = 'eve' where sequence = 2345`)
  t.same(await brokenSites(db), [['acme', 2345, 'changed']])
})
