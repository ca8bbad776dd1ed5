import t from 'tap'
import { recordUses, recordUsesOfUnchanged } from '../../src/last-used/repository.ts'
import { useOf } from '../../src/last-used/use.ts'
import { startApp } from '../fixtures/app/app.ts'
import {
  asServingRole,
  openTestPipelinedConnection,
  openTestPipelinedConnections,
  query,
  withClient
} from '../fixtures/app/database.ts'
import type { Grantd } from '../fixtures/app/grantd.ts'
import { until } from '../fixtures/run/until.ts'

const AT = Date.parse('2026-11-25T10:00:00.000Z')

const lastUsedAt = async (grantd: Grantd, path: string): Promise<string | null> =>
  (await grantd.asAdmin('GET', path)).json().lastUsedAt

const atVersion = (version: number, ids: string[], at: number) =>
  ids.map(clientId => ({ clientId, version, use: useOf(1, at) }))

t.test('uses are recorded for registrations that are unchanged, the first use too', async t => {
  const grantd = await startApp(t)
  const { lastUsedWriter } = openTestPipelinedConnections(t, asServingRole(grantd.databaseUrl))
  const [used, changed, unused] = [await grantd.register(), await grantd.register(), await grantd.register()]
  await recordUses(lastUsedWriter, new Map([used, changed].map(({ clientId }) => [clientId, useOf(1, AT)])))
  await grantd.asAdmin('PATCH', changed.path, { body: { enabled: false } })
  const ids = [used.clientId, changed.clientId, unused.clientId, '0'.repeat(20)]
  const recorded = await recordUsesOfUnchanged(lastUsedWriter, atVersion(1, ids, AT + 1_000))
  t.same(
    recorded.sort((one, other) => (one.client_id < other.client_id ? -1 : 1)),
    [used.clientId, unused.clientId].sort().map(client_id => ({ client_id, version: 1 }))
  )
  t.equal(await lastUsedAt(grantd, used.path), new Date(AT + 1_000).toISOString())
  t.equal(await lastUsedAt(grantd, changed.path), new Date(AT).toISOString())
  t.equal(await lastUsedAt(grantd, unused.path), new Date(AT + 1_000).toISOString())
})

t.test('an older use is confirmed as current but does not move Last used back', async t => {
  const grantd = await startApp(t)
  const { lastUsedWriter } = openTestPipelinedConnections(t, asServingRole(grantd.databaseUrl))
  const { clientId, path } = await grantd.register()
  await recordUses(lastUsedWriter, new Map([[clientId, useOf(1, AT)]]))
  t.same(await recordUsesOfUnchanged(lastUsedWriter, atVersion(1, [clientId], AT - 5_000)), [
    { client_id: clientId, version: 1 }
  ])
  t.equal(await lastUsedAt(grantd, path), new Date(AT).toISOString())
})

t.test('of two versions of one client in one statement, only the current one is recorded', async t => {
  const grantd = await startApp(t)
  const { lastUsedWriter } = openTestPipelinedConnections(t, asServingRole(grantd.databaseUrl))
  const { clientId, path } = await grantd.register()
  await recordUses(lastUsedWriter, new Map([[clientId, useOf(1, AT)]]))
  await grantd.asAdmin('PATCH', path, { body: { name: 'renamed' } })
  const uses = [...atVersion(1, [clientId], AT + 2_000), ...atVersion(2, [clientId], AT + 1_000)]
  t.same(await recordUsesOfUnchanged(lastUsedWriter, uses), [{ client_id: clientId, version: 2 }])
  t.equal(await lastUsedAt(grantd, path), new Date(AT + 1_000).toISOString())
})

const WAITS_FOR_A_LOCK = `
  select from pg_stat_activity
  where wait_event_type = 'Lock' and query like '%registration_last_used%' and datname = current_database()`

type Writer = Parameters<typeof recordUses>[0]

const RECORDINGS: [string, (db: Writer, ids: string[], at: number) => Promise<unknown>][] = [
  ['recordUses', (db, ids, at) => recordUses(db, new Map(ids.map(id => [id, useOf(1, at)])))],
  ['recordUsesOfUnchanged', (db, ids, at) => recordUsesOfUnchanged(db, atVersion(1, ids, at))]
]

for (const [name, record] of RECORDINGS) {
  t.test(`${name} leaves out a registration whose deletion it waits for, and records the other uses`, async t => {
    const grantd = await startApp(t)
    // Without a lock timeout, so that it waits for as long as the deletion takes.
    const db = openTestPipelinedConnection(t, asServingRole(grantd.databaseUrl))
    const [one, gone, other] = [await grantd.register(), await grantd.register(), await grantd.register()]
    const ids = [one, gone, other].map(({ clientId }) => clientId)
    await record(db, ids, AT)
    await withClient(grantd.databaseUrl, async deletion => {
      await deletion.query('begin')
      await deletion.query('delete from registrations where client_id = $1', [gone.clientId])
      const recorded = record(db, ids, AT + 1_000)
      await until('it waits', async () => (await query(grantd.databaseUrl, WAITS_FOR_A_LOCK)).length > 0)
      await deletion.query('commit')
      await recorded
    })
    for (const { path } of [one, other]) t.equal(await lastUsedAt(grantd, path), new Date(AT + 1_000).toISOString())
    t.same(await query(grantd.databaseUrl, 'select from registration_last_used where client_id = $1', [ids[1]]), [])
  })
}

t.test('a row of Last used that is missing is created, unless its registration is being deleted', async t => {
  const grantd = await startApp(t)
  const db = openTestPipelinedConnection(t, asServingRole(grantd.databaseUrl))
  const [kept, gone] = [await grantd.register(), await grantd.register()]
  await query(grantd.databaseUrl, 'delete from registration_last_used')
  await withClient(grantd.databaseUrl, async deletion => {
    await deletion.query('begin')
    await deletion.query('delete from registrations where client_id = $1', [gone.clientId])
    const recorded = recordUses(db, new Map([kept, gone].map(({ clientId }) => [clientId, useOf(1, AT)])))
    await until('it waits', async () => (await query(grantd.databaseUrl, WAITS_FOR_A_LOCK)).length > 0)
    await deletion.query('commit')
    await recorded
  })
  t.same(await query(grantd.databaseUrl, 'select client_id, exchange_count::int from registration_last_used'), [
    { client_id: kept.clientId, exchange_count: 1 }
  ])
})

for (const [registrations, [name, record]] of [3, 3_000].flatMap(count =>
  RECORDINGS.map(named => [count, named] as const)
)) {
  t.test(`two instances that write the same ${registrations} rows at once by ${name} never deadlock`, async t => {
    const grantd = await startApp(t)
    const { clientId } = await grantd.register()
    await query(
      grantd.databaseUrl,
      `insert into registrations (client_id, site_id, name, name_folded, secret_hash, secret_mac, secret_mac_key_id, secret_created_at, scopes, enabled,
         registered_at, expires_at, expiry_set_at)
       select lpad(to_hex(i * 7919 % 65536) || i, 20, 'z'), site_id, name, name_folded, secret_hash, secret_mac,
         secret_mac_key_id, secret_created_at,
         scopes, enabled, registered_at, expires_at, expiry_set_at
       from registrations, generate_series(1, $2::int) as i where client_id = $1`,
      [clientId, registrations]
    )
    await query(grantd.databaseUrl, 'update registration_last_used set last_used_at = now()')
    await query(grantd.databaseUrl, 'analyze')
    const rows = (await query(grantd.databaseUrl, 'select client_id from registrations')).map(Object)
    const ids = rows.map(({ client_id: id }) => String(id)).sort()
    const one = openTestPipelinedConnections(t, asServingRole(grantd.databaseUrl)).lastUsedWriter
    const other = openTestPipelinedConnections(t, asServingRole(grantd.databaseUrl)).lastUsedWriter
    const write = (lane: typeof one, from: number, round: number) => {
      const some = ids.filter((_, index) => (index + from) % 3 !== 0)
      return record(lane, from === 0 ? some : some.reverse(), AT + round)
    }
    const outcomes: string[] = []
    for (let round = 0; round < 25; round++) {
      const settled = await Promise.allSettled([write(one, 0, round), write(other, 1, round)])
      for (const result of settled) {
        // Waiting too long for the other is no circle: that write is tried again.
        outcomes.push(result.status === 'fulfilled' ? 'moved' : String(Object(result.reason).cause?.code))
      }
    }
    t.notOk(outcomes.includes('40P01'), 'deadlock_detected')
    t.ok(outcomes.includes('moved'))
  })
}

t.test('each of two credentials has its own latest use, and Last used is the later one', async t => {
  const grantd = await startApp(t)
  const { lastUsedWriter } = openTestPipelinedConnections(t, asServingRole(grantd.databaseUrl))
  const { clientId, path } = await grantd.register()
  await recordUses(lastUsedWriter, new Map([[clientId, useOf(1, AT)]]))
  await recordUsesOfUnchanged(lastUsedWriter, [{ clientId, version: 1, use: useOf(2, AT + 1_000) }])
  const [row] = await query(
    grantd.databaseUrl,
    'select odd_credential_used_at, even_credential_used_at from registration_last_used'
  )
  t.same(row, { odd_credential_used_at: new Date(AT), even_credential_used_at: new Date(AT + 1_000) })
  t.equal(await lastUsedAt(grantd, path), new Date(AT + 1_000).toISOString())
})
