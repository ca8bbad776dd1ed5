import t, { type Test } from 'tap'
import { ClientCache } from '../../../../src/oauth/token/cache/client-cache.ts'
import { ClientLookup, type LookupWatch } from '../../../../src/oauth/token/cache/client-lookup.ts'
import { DECOY_ROW } from '../../../../src/registrations/clients/repository.ts'
import { Clock, startApp } from '../../../fixtures/app/app.ts'
import { countStatements, openTestPipelinedConnection, query } from '../../../fixtures/app/database.ts'
import { proxyPostgres } from '../../../fixtures/faults/tcp-proxy.ts'
import { until } from '../../../fixtures/run/until.ts'

const UNKNOWN_ID = '0'.repeat(20)

/** Look-ups over a connection that the test can cut. */
async function startLookups(t: Test, watch?: LookupWatch) {
  const grantd = await startApp(t)
  const { proxy, url } = await proxyPostgres(t, grantd.databaseUrl)
  const clock = new Clock()
  const cache = new ClientCache()
  const learned: string[] = []
  const macKeys = { learn: async (keyIds: Iterable<string>) => void learned.push(...keyIds) }
  const { db, counts } = countStatements(openTestPipelinedConnection(t, url))
  const lookup = new ClientLookup({ db, cache, macKeys, staleMs: 60_000, now: clock.now, ...(watch && { watch }) })
  const cutOff = async () => {
    await proxy.refuse()
    await until('the connection is lost', () => proxy.open === 0)
  }
  return { grantd, proxy, clock, cache, lookup, counts, learned, cutOff }
}

t.test('all clients of one turn are looked up by one statement, and an unknown one yields a decoy', async t => {
  const { grantd, lookup, counts, learned } = await startLookups(t)
  const ids = [(await grantd.register()).clientId, UNKNOWN_ID, (await grantd.register()).clientId]
  const found = await Promise.all([...ids, ...ids].map(id => lookup.find(id)))
  t.same(
    found.map(({ row }) => [row.client_id, row.is_registered]),
    [...ids, ...ids].map(id => [id, id !== UNKNOWN_ID])
  )
  t.equal(counts.statements, 1)
  t.equal(new Set(learned).size, 1, 'the MAC key of both registrations, and none of the decoy')
  const [registered, decoy] = found.map(({ row }) => row)
  const typesOf = (row: object = {}) =>
    Object.entries(row).map(([name, value]) => [name, typeof value, value?.constructor])
  t.same(typesOf(decoy), typesOf(registered), 'a decoy is parsed like a row')
})

t.test(
  'only a client that exchanged within the window is served from the cache while the database is away',
  async t => {
    const { grantd, clock, cache, lookup, cutOff } = await startLookups(t)
    const [warm, cold] = [await grantd.register(), await grantd.register()]
    const { row: read } = await lookup.find(warm.clientId)
    t.match(await lookup.find(cold.clientId), { row: { client_id: cold.clientId }, isFresh: true })
    cache.keep(read, clock.time)
    const row = cache.find(warm.clientId)
    t.match(row, { client_id: warm.clientId, secret_mac: read.secret_mac, version: read.version })
    await cutOff()
    t.same(await lookup.find(warm.clientId), { row, isFresh: false })
    const decoy = { row: DECOY_ROW, isFresh: false }
    for (const clientId of [cold.clientId, UNKNOWN_ID]) t.same(await lookup.find(clientId), decoy)
    clock.advance(59_000)
    t.same(await lookup.find(warm.clientId), { row, isFresh: false })
    clock.advance(1_000)
    t.same(await lookup.find(warm.clientId), decoy)
  }
)

t.test('the loss of the database is reported once, and its return once, whichever statement notices', async t => {
  const reported: string[] = []
  const watch = {
    lookedUp: () => {},
    awayChanged: (isAway: boolean) => void reported.push(isAway ? 'away' : 'back'),
    servedStale: () => void reported.push('stale')
  }
  const { grantd, proxy, clock, cache, lookup, cutOff } = await startLookups(t, watch)
  const warm = await grantd.register()
  cache.keep((await lookup.find(warm.clientId)).row, clock.time)
  lookup.noteAnswer()
  t.same(reported, [])
  await cutOff()
  for (let time = 0; time < 2; time++) await lookup.find(warm.clientId)
  lookup.noteServedStale()
  t.same(reported, ['away', 'stale'])
  lookup.noteAnswer()
  lookup.noteAnswer()
  t.same(reported.splice(0), ['away', 'stale', 'back'])
  await lookup.find(warm.clientId)
  await proxy.accept()
  await until('it is back', async () => (await lookup.find(warm.clientId)).isFresh)
  t.same(reported, ['away', 'back'])
})

t.test('a statement that fails is no loss of the database, and nobody is served from the cache then', async t => {
  const reported: boolean[] = []
  const watch = {
    lookedUp: () => {},
    awayChanged: (isAway: boolean) => void reported.push(isAway),
    servedStale: () => {}
  }
  const { grantd, clock, cache, lookup } = await startLookups(t, watch)
  const warm = await grantd.register()
  cache.keep((await lookup.find(warm.clientId)).row, clock.time)
  await query(grantd.databaseUrl, 'alter table registrations rename column enabled to moved')
  await t.rejects(lookup.find(warm.clientId), { code: '42703' })
  t.same(reported, [])
})

// [SECRET-7]
t.test('the cache holds no secret and no hash of one', async t => {
  const { grantd, clock, cache, lookup } = await startLookups(t)
  const { clientId, clientSecret } = await grantd.register()
  cache.keep((await lookup.find(clientId)).row, clock.time)
  const held = JSON.stringify(cache.find(clientId))
  t.notMatch(held, clientSecret)
  t.notMatch(held, '$argon2id$')
})

t.test('a look-up refreshes a cached row', async t => {
  const { grantd, clock, cache, lookup } = await startLookups(t)
  const client = await grantd.register()
  cache.keep((await lookup.find(client.clientId)).row, clock.time)
  await grantd.asAdmin('PATCH', client.path, { body: { enabled: false } })
  await lookup.find(client.clientId)
  t.match(cache.find(client.clientId), { enabled: false, version: 2 })
  await grantd.asAdmin('DELETE', client.path)
  await lookup.find(client.clientId)
  t.equal(cache.find(client.clientId), DECOY_ROW)
})

t.test('10,000 look-ups may wait, and the next fails at once until they are answered', async t => {
  const { lookup } = await startLookups(t)
  const idOf = (index: number) => String(index).padStart(20, '0')
  for (let time = 0; time < 2; time++) {
    const waiting = Array.from({ length: 10_000 }, (_, index) => lookup.find(idOf(index)))
    await t.rejects(lookup.find(idOf(10_000)), {
      name: 'DatabaseUnavailable',
      message: 'too many look-ups are waiting'
    })
    const joined = lookup.find(idOf(0))
    await Promise.all([...waiting, joined])
    await new Promise(setImmediate)
  }
})
