import t from 'tap'
import { recordEvent } from '../../src/audit/record.ts'
import { ALL_SITES } from '../../src/database/site-setting.ts'
import { Clock, startApp } from '../fixtures/app/app.ts'
import { auditRows, eventOf, verdicts } from '../fixtures/app/audit.ts'
import { asServingRole, createDatabase, openTestDatabase, query, queryInSites } from '../fixtures/app/database.ts'
import { proxyPostgres } from '../fixtures/faults/tcp-proxy.ts'
import { until } from '../fixtures/run/until.ts'

const INSERT = `insert into audit_events
  select site_id, sequence + 1, occurred_at, action, subject, actor, actor_issuer, request_id, source, changes, hash, hash
  from audit_events order by sequence desc limit 1`

t.test('the serving role can add and read events, and cannot change or delete them', async t => {
  const grantd = await startApp(t)
  const serving = await startApp(t, { databaseUrl: asServingRole(grantd.databaseUrl) })
  await serving.register()
  t.equal((await serving.asAdmin('GET', '/v1/sites/acme/audit-events')).json().items.length, 1)
  const before = [await auditRows(grantd.databaseUrl), await query(grantd.databaseUrl, 'select * from audit_chains')]
  for (const statement of [
    `update audit_events set actor = 'eve'`,
    'update audit_events set hash = hash where false',
    'delete from audit_events',
    'delete from audit_events where false',
    'truncate audit_events',
    'drop table audit_events',
    'alter table audit_events disable trigger all',
    'drop trigger refuse_audit_change on audit_events',
    `insert into audit_events select * from audit_events on conflict (site_id, sequence) do update set actor = 'eve'`,
    `create or replace function refuse_audit_change() returns trigger language plpgsql as 'begin return new; end'`,
    'set session_replication_role = replica',
    `insert into audit_chains values ('umbrella', 0, decode(repeat('00', 32), 'hex'))`,
    'update audit_chains set sequence = 0',
    'delete from audit_chains',
    'truncate audit_chains'
  ]) {
    await t.rejects(query(asServingRole(grantd.databaseUrl), statement), { code: '42501' }, statement)
  }
  t.same([await auditRows(grantd.databaseUrl), await query(grantd.databaseUrl, 'select * from audit_chains')], before)
})

t.test('the owner cannot change an event by accident', async t => {
  const grantd = await startApp(t)
  await grantd.register()
  await grantd.register()
  const before = [await auditRows(grantd.databaseUrl), await query(grantd.databaseUrl, 'select * from audit_chains')]
  for (const statement of [
    `update audit_events set actor = 'eve'`,
    'delete from audit_events',
    'delete from audit_events where sequence = 2',
    'truncate audit_events',
    'truncate audit_events, audit_chains',
    'delete from audit_chains',
    `update audit_chains set site_id = 'umbrella'`,
    'update audit_chains set sequence = 1, hash = (select hash from audit_events where sequence = 1)',
    'update audit_chains set sequence = 3',
    'update audit_chains set pruned_sequence = 1',
    `update audit_chains set pruned_sequence = 1, pruned_hash = decode(repeat('11', 32), 'hex')`
  ]) {
    await t.rejects(query(grantd.databaseUrl, statement), { code: '42501' }, statement)
  }
  t.same([await auditRows(grantd.databaseUrl), await query(grantd.databaseUrl, 'select * from audit_chains')], before)
})

t.test('an event that does not continue the chain of its Site is refused, also for the owner', async t => {
  const grantd = await startApp(t)
  await grantd.register()
  await grantd.register()
  for (const [what, statement] of [
    ['a gap', INSERT.replace('sequence + 1', 'sequence + 2')],
    ['a fork', INSERT.replace('sequence + 1', 'sequence').replace('sequence desc', 'sequence')],
    ['another one before it', INSERT.replace('hash, hash', 'previous_hash, hash')],
    ['a second beginning', INSERT.replace('sequence + 1', '1')],
    ['a Site that begins in the middle', INSERT.replace('site_id', `'umbrella'`)]
  ] as const) {
    for (const url of [grantd.databaseUrl, asServingRole(grantd.databaseUrl)]) {
      await t.rejects(
        queryInSites(url, ALL_SITES, statement),
        /does not continue|audit_chains_pkey|audit_events_pkey/,
        what
      )
    }
  }
  t.equal((await auditRows(grantd.databaseUrl)).length, 2)
})

t.test('50 changes at once in one Site, over two instances, make one chain without a gap', async t => {
  const one = await startApp(t)
  const other = await startApp(t, { databaseUrl: one.databaseUrl })
  const [first, second] = [await one.register({ name: 'a' }), await one.register({ name: 'b' })]
  const answers = await Promise.all(
    Array.from({ length: 50 }, (_, index) =>
      (index % 2 === 0 ? one : other).asAdmin('PATCH', (index % 3 === 0 ? first : second).path, {
        body: { name: `name ${index}` }
      })
    )
  )
  t.same(new Set(answers.map(({ status }) => status)), new Set([200]))
  const db = openTestDatabase(t, one.databaseUrl)
  t.same(await verdicts(db), [{ siteId: 'acme', events: 52, broken: undefined }])
})

t.test('a change that is rolled back leaves no event and no place in the chain', async t => {
  const db = openTestDatabase(t, await createDatabase(t))
  const write = (index: number, fails: boolean) =>
    db.transaction().execute(async trx => {
      await recordEvent(trx, eventOf('acme', index))
      if (fails) throw new Error('rolled back')
    })
  await t.rejects(write(0, true), /rolled back/)
  await write(1, false)
  await t.rejects(write(2, true), /rolled back/)
  await write(3, false)
  t.same(await verdicts(db), [{ siteId: 'acme', events: 2, broken: undefined }])
})

t.test('a connection that breaks before the commit leaves neither the change nor its event', async t => {
  const databaseUrl = await createDatabase(t)
  const { proxy, url } = await proxyPostgres(t, databaseUrl)
  const clock = new Clock()
  const grantd = await startApp(t, { databaseUrl: url, now: clock.now })
  const { path } = await grantd.register({ name: 'before' })
  const db = openTestDatabase(t, databaseUrl)
  const released = Promise.withResolvers<void>()
  const locked = Promise.withResolvers<void>()
  const holding = db.transaction().execute(async trx => {
    await recordEvent(trx, eventOf('acme'))
    locked.resolve()
    await released.promise
  })
  await locked.promise
  const patching = grantd.asAdmin('PATCH', path, { body: { name: 'after' } })
  // The change is made and waits for its place in the chain.
  await until('it waits', async () => {
    const waiting = await query(databaseUrl, `select from pg_locks where locktype = 'advisory' and not granted`)
    return waiting.length === 1
  })
  proxy.cut()
  t.equal((await patching).status, 503)
  released.resolve()
  await holding
  const read = await grantd.asAdmin('GET', path)
  t.match(read.json(), { name: 'before' })
  t.same(await verdicts(db), [{ siteId: 'acme', events: 2, broken: undefined }])
  t.equal((await grantd.asAdmin('PATCH', path, { body: { name: 'after' } })).status, 200)
})

t.test('other actions on other subjects are recorded the same way', async t => {
  const grantd = await startApp(t)
  const db = openTestDatabase(t, grantd.databaseUrl)
  const changes = { url: { from: null, to: 'https://receiver.example.com' } }
  await db
    .transaction()
    .execute(trx =>
      recordEvent(trx, { ...eventOf('acme'), action: 'receiver.created', subject: 'receiver-1', changes })
    )
  const answer = await grantd.asAdmin('GET', '/v1/sites/acme/audit-events?clientId=receiver-1&action=receiver.created')
  t.match(answer.json().items, [{ action: 'receiver.created', subject: 'receiver-1', changes }])
})
