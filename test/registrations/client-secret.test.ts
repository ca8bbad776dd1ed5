import { connect } from 'node:net'
import Fastify from 'fastify'
import t from 'tap'
import { FairSemaphore } from '../../src/concurrency/fair-semaphore.ts'
import { hangUpSignal } from '../../src/http/hang-up.ts'
import { makeSecret } from '../../src/registrations/client-secret.ts'
import { startApp } from '../fixtures/app/app.ts'
import { COLLECTION, inDays } from '../fixtures/app/registration.ts'
import { until } from '../fixtures/run/until.ts'

const OTHER = '/v1/sites/umbrella/app-registrations'

t.test('an administrator who rotates ids that do not exist, or creates in a full Site, costs no hash', async t => {
  const grantd = await startApp(t, { environment: { MAX_REGISTRATIONS_PER_SITE: '1' } })
  const { path } = await grantd.register()
  const body = { name: 'x', expiresAt: inDays(10) }
  const absent = `${COLLECTION}/${'a'.repeat(20)}/rotate-secret`
  const answers = await Promise.all([
    ...Array.from({ length: 100 }, () => grantd.asAdmin('POST', absent)),
    ...Array.from({ length: 100 }, () => grantd.asAdmin('POST', COLLECTION, { body })),
    ...Array.from({ length: 100 }, () =>
      grantd.asAdmin('POST', `${path}/rotate-secret`, { headers: { 'if-match': '"7"' } })
    ),
    grantd.asAdmin('POST', OTHER, { body })
  ])
  const counts = Object.entries(Object.groupBy(answers, ({ status }) => status)).map(([status, all]) => [
    status,
    all?.length
  ])
  // With a hash for each of them, the queue would have been full: 503.
  t.same(Object.fromEntries(counts), { 201: 1, 404: 100, 409: 100, 412: 100 })
})

t.test('a Site that creates more than can be hashed does not stop another Site', async t => {
  const grantd = await startApp(t)
  const create = (path: string) => grantd.asAdmin('POST', path, { body: { name: 'x', expiresAt: inDays(10) } })
  const flood = Array.from({ length: 150 }, () => create(COLLECTION))
  const others = await Promise.all(Array.from({ length: 5 }, () => create(OTHER)))
  t.same(
    others.map(({ status }) => status),
    [201, 201, 201, 201, 201]
  )
  const rejected = (await Promise.all(flood)).filter(({ status }) => status !== 201)
  t.ok(rejected.length > 0, 'the queue of the busy Site is bounded')
  for (const answer of rejected) {
    t.equal(answer.status, 503)
    t.ok(answer.headers['retry-after'])
  }
})

t.test('a caller that hangs up frees its place, and no secret is hashed for it', async t => {
  const hashing = new FairSemaphore({ permits: 1, maxWaitingPerKey: 1, maxWaiting: 1 })
  const held = Promise.withResolvers<void>()
  const holder = hashing.run('acme', () => held.promise)
  const app = Fastify()
  const outcomes: unknown[] = []
  app.get('/', async (_request, reply) => {
    await makeSecret({ hashing, secretPrefix: 'grantd_' }, 'acme', hangUpSignal(reply)).catch(error =>
      outcomes.push(error.reason)
    )
  })
  const address = await app.listen({ port: 0, host: '127.0.0.1' })
  t.teardown(() => app.close())
  const socket = connect(Number(new URL(address).port), '127.0.0.1')
  socket.write('GET / HTTP/1.1\r\nHost: grantd\r\n\r\n')
  await until('it waits', async () => hashing.load.waiting === 1)
  socket.destroy()
  await until('its place is free', async () => hashing.load.waiting === 0)
  t.same(outcomes, ['hung_up'])
  held.resolve()
  await holder
  t.same(hashing.load, { running: 0, waiting: 0, admitted: 1, rejected: 0 })
})
