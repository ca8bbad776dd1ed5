import t from 'tap'
import { DatabaseUnavailable } from '../../src/database/errors.ts'
import { Credentials } from '../../src/tokens/credentials.ts'
import { KnownClients } from '../../src/tokens/known-clients.ts'
import { Clock, startApp } from '../fixtures/app.ts'
import { openTestLane } from '../fixtures/database.ts'
import { proxyPostgres } from '../fixtures/tcp-proxy.ts'
import { until } from '../fixtures/until.ts'

t.test('all that are asked for in one turn are read by one statement', async t => {
  const grantd = await startApp(t)
  const ids = [(await grantd.register()).clientId, (await grantd.register()).clientId, '0'.repeat(20)]
  let statements = 0
  const counted = openTestLane(t, grantd.databaseUrl).withPlugin({
    transformQuery: ({ node }) => node,
    transformResult: async ({ result }) => {
      statements++
      return result
    }
  })
  const credentials = new Credentials({ db: counted, known: new KnownClients(), staleMs: 0, now: Date.now })
  const found = await Promise.all([...ids, ...ids, ...ids].map(id => credentials.find(id)))
  t.same(
    found.map(({ credential }) => credential?.client_id),
    [ids[0], ids[1], undefined, ids[0], ids[1], undefined, ids[0], ids[1], undefined]
  )
  t.equal(statements, 1)
})

t.test('only a client that exchanged a moment ago is known while the database is away, for so long', async t => {
  const clock = new Clock()
  const grantd = await startApp(t)
  const [warm, cold] = [await grantd.register(), await grantd.register()]
  const { proxy, url } = await proxyPostgres(t, grantd.databaseUrl)
  const known = new KnownClients()
  const credentials = new Credentials({ db: openTestLane(t, url), known, staleMs: 60_000, now: clock.now })
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
