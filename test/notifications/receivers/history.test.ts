import t, { type Test } from 'tap'
import { Clock, startApp } from '../../fixtures/app/app.ts'
import { query } from '../../fixtures/app/database.ts'
import type { Grantd, Json } from '../../fixtures/app/grantd.ts'

const COLLECTION = '/v1/sites/acme/notice-receivers'
const HOUR_MS = 3_600_000

async function startAudited(t: Test) {
  const clock = new Clock()
  const grantd = await startApp(t, { now: clock.now, resolve: async () => [{ address: '8.8.8.8', family: 4 }] })
  const make = async (url: string) => {
    const answer = await grantd.asAdmin('POST', COLLECTION, { body: { kind: 'webhook', url } })
    return { answer, path: String(answer.headers['location']), ...answer.json() }
  }
  return { clock, grantd, make }
}

/** What was done to receivers of the Site, the oldest first. */
async function eventsOf(grantd: Grantd): Promise<Json[]> {
  return (await grantd.asAdmin('GET', '/v1/sites/acme/audit-events')).json().items.toReversed()
}

t.test('creating, changing, rotating and deleting a receiver each record an audit event', async t => {
  const { clock, grantd, make } = await startAudited(t)
  const { path, receiverId } = await make('https://hooks.example.com')
  clock.advance(1_000)
  await grantd.asAdmin('PATCH', path, { body: { url: 'https://other.example.com:8443', steps: [7, 0] } })
  await grantd.asAdmin('POST', `${path}/rotate-secret`)
  await grantd.asAdmin('DELETE', path)
  const [created, ...events] = await eventsOf(grantd)
  t.match(created, {
    actor: 'ada',
    actorIssuer: 'https://identity.example.com',
    source: '127.0.0.1',
    subject: receiverId,
    occurredAt: '2026-11-23T09:00:00.000Z'
  })
  t.same(
    [created, ...events].map(({ action, changes }) => [action, changes]),
    [
      [
        'receiver.created',
        { kind: { from: null, to: 'webhook' }, url: { from: null, to: 'https://hooks.example.com' } }
      ],
      [
        'receiver.changed',
        {
          url: { from: 'https://hooks.example.com', to: 'https://other.example.com:8443' },
          steps: { from: null, to: [7, 0] }
        }
      ],
      [
        'receiver.secret_rotated',
        { previousSecretExpiresAt: { from: null, to: new Date(clock.time + 24 * HOUR_MS).toISOString() } }
      ],
      [
        'receiver.deleted',
        {
          kind: { from: 'webhook', to: null },
          url: { from: 'https://other.example.com:8443', to: null },
          steps: { from: [7, 0], to: null }
        }
      ]
    ]
  )
})

// [NOTICE-6]
t.test('no audit event has a signing secret or the path and query of a URL, but each change is recorded', async t => {
  const { grantd, make } = await startAudited(t)
  const { path, signingSecret } = await make('https://hooks.example.com/services/T0/canary-path?token=canary-query')
  await grantd.asAdmin('PATCH', path, { body: { url: 'https://hooks.example.com/services/T0/canary-next' } })
  const rotated = (await grantd.asAdmin('POST', `${path}/rotate-secret`)).json()
  await grantd.asAdmin('DELETE', path)
  const rows = JSON.stringify(await query(grantd.databaseUrl, 'select * from audit_events'))
  for (const secret of ['canary', signingSecret, rotated.signingSecret]) t.notMatch(rows, secret)
  const url = 'https://hooks.example.com/…'
  t.same((await eventsOf(grantd))[1].changes, { url: { from: url, to: url } })
})

t.test('a change without effect and a refused change record no audit event', async t => {
  const { grantd, make } = await startAudited(t)
  const { path } = await make('https://hooks.example.com/a')
  await grantd.asAdmin('PATCH', path, { body: { url: 'https://hooks.example.com/a', steps: null } })
  await grantd.asAdmin('PATCH', path, { body: { url: 'http://hooks.example.com/' } })
  await grantd.asAdmin('DELETE', path, { sites: ['umbrella'] })
  await grantd.asAdmin('POST', `${path}/test`)
  t.same(
    (await eventsOf(grantd)).map(({ action }) => action),
    ['receiver.created']
  )
})

// [NOTICE-7]
t.test('a change of a receiver that cannot be recorded is not made', async t => {
  const { grantd, make } = await startAudited(t)
  const { path } = await make('https://hooks.example.com/a')
  const rows = () => query(grantd.databaseUrl, 'select * from notice_receivers')
  const before = await rows()
  await query(grantd.databaseUrl, 'alter table audit_events rename to gone')
  t.equal((await make('https://hooks.example.com/b')).answer.status, 500)
  t.equal((await grantd.asAdmin('PATCH', path, { body: { steps: [0] } })).status, 500)
  t.equal((await grantd.asAdmin('POST', `${path}/rotate-secret`)).status, 500)
  t.equal((await grantd.asAdmin('DELETE', path)).status, 500)
  t.same(await rows(), before)
})
