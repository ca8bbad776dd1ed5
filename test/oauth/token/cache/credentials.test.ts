import t from 'tap'
import { DatabaseUnavailable } from '../../../../src/database/errors.ts'
import { Credentials } from '../../../../src/oauth/token/cache/credentials.ts'
import { KnownClients } from '../../../../src/oauth/token/cache/known-clients.ts'
import { Clock, startApp } from '../../../fixtures/app/app.ts'
import { countStatements, openTestPipelinedConnection, query } from '../../../fixtures/app/database.ts'
import { proxyPostgres } from '../../../fixtures/faults/tcp-proxy.ts'
import { caught } from '../../../fixtures/run/caught.ts'
import { until } from '../../../fixtures/run/until.ts'

t.test('all that are asked for in one turn are read by one statement', async t => {
  const grantd = await startApp(t)
  const ids = [(await grantd.register()).clientId, (await grantd.register()).clientId, '0'.repeat(20)]
  const { db, counts } = countStatements(openTestPipelinedConnection(t, grantd.databaseUrl))
  const credentials = new Credentials({ db, known: new KnownClients(), staleMs: 0, now: Date.now })
  const found = await Promise.all([...ids, ...ids, ...ids].map(id => credentials.find(id)))
  t.same(
    found.map(({ credential }) => credential?.client_id),
    [ids[0], ids[1], undefined, ids[0], ids[1], undefined, ids[0], ids[1], undefined]
  )
  t.equal(counts.statements, 1)
})

t.test('only a client that exchanged a moment ago is known while the database is away, for so long', async t => {
  const clock = new Clock()
  const grantd = await startApp(t)
  const [warm, cold] = [await grantd.register(), await grantd.register()]
  const { proxy, url } = await proxyPostgres(t, grantd.databaseUrl)
  const known = new KnownClients()
  const credentials = new Credentials({
    db: openTestPipelinedConnection(t, url),
    known,
    staleMs: 60_000,
    now: clock.now
  })
  const { credential: read } = await credentials.find(warm.clientId)
  if (read === undefined) throw new Error('not found')
  t.match(await credentials.find(cold.clientId), { credential: { client_id: cold.clientId }, isFresh: true })
  known.remember({ credential: read, secret: 'current' }, known.proofOf(warm.clientSecret), clock.time)
  await proxy.refuse()
  await until('it is away', () => proxy.open === 0)
  t.same(await credentials.find(warm.clientId), { credential: read, isFresh: false })
  await t.rejects(credentials.find(cold.clientId), DatabaseUnavailable)
  clock.advance(59_000)
  t.same(await credentials.find(warm.clientId), { credential: read, isFresh: false })
  clock.advance(1_000)
  await t.rejects(credentials.find(warm.clientId), DatabaseUnavailable)
})

t.test('that the database is away is told once, and once that it is back, whoever hears of it', async t => {
  const grantd = await startApp(t)
  const warm = await grantd.register()
  const { proxy, url } = await proxyPostgres(t, grantd.databaseUrl)
  const known = new KnownClients()
  const told: string[] = []
  const watch = {
    awayChanged: (isAway: boolean) => void told.push(isAway ? 'away' : 'back'),
    servedStale: () => void told.push('stale')
  }
  const credentials = new Credentials(
    { db: openTestPipelinedConnection(t, url), known, staleMs: 60_000, now: () => 1_000 },
    watch
  )
  const { credential } = await credentials.find(warm.clientId)
  if (credential === undefined) throw new Error('not found')
  known.remember({ credential, secret: 'current' }, known.proofOf(warm.clientSecret), 1_000)
  credentials.noteAnswer()
  t.same(told, [])
  await proxy.refuse()
  await until('it is away', () => proxy.open === 0)
  for (let time = 0; time < 2; time++) await credentials.find(warm.clientId)
  t.same(told, ['away', 'stale', 'stale'])
  credentials.noteAnswer()
  credentials.noteAnswer()
  t.same(told.splice(0), ['away', 'stale', 'stale', 'back'])
  await credentials.find(warm.clientId)
  await proxy.accept()
  await until('it is back', async () => (await credentials.find(warm.clientId)).isFresh)
  t.same([told[0], told.at(-1), told.filter(event => event !== 'stale').length], ['away', 'back', 2])
})

t.test('a statement that fails is not an absence, and nobody is served from memory then', async t => {
  const grantd = await startApp(t)
  const warm = await grantd.register()
  const known = new KnownClients()
  const told: boolean[] = []
  const watch = { awayChanged: (isAway: boolean) => void told.push(isAway), servedStale: () => {} }
  const db = openTestPipelinedConnection(t, grantd.databaseUrl)
  const credentials = new Credentials({ db, known, staleMs: 60_000, now: () => 1_000 }, watch)
  const { credential } = await credentials.find(warm.clientId)
  if (credential === undefined) throw new Error('not found')
  known.remember({ credential, secret: 'current' }, known.proofOf(warm.clientSecret), 1_000)
  await query(grantd.databaseUrl, 'alter table registrations rename column enabled to moved')
  await t.rejects(credentials.find(warm.clientId), { code: '42703' })
  t.same(told, [])
})

t.test('10,000 look-ups may wait; the next fails at once, until those have their answer', async t => {
  const grantd = await startApp(t)
  const credentials = new Credentials({
    db: openTestPipelinedConnection(t, grantd.databaseUrl),
    known: new KnownClients(),
    staleMs: 0,
    now: Date.now
  })
  const idOf = (index: number) => String(index).padStart(20, '0')
  for (let time = 0; time < 2; time++) {
    const waiting = Array.from({ length: 10_000 }, (_, index) => credentials.find(idOf(index)))
    t.match(
      caught(() => credentials.find(idOf(10_000))),
      { name: 'DatabaseUnavailable', cause: 'too many look-ups are waiting' }
    )
    t.equal(credentials.find(idOf(0)), waiting[0], 'who asks for the same waits with the others')
    await Promise.all(waiting)
    await new Promise(setImmediate)
  }
})
