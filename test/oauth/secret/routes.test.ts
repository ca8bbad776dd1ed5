import { randomUUID } from 'node:crypto'
import t, { type Test } from 'tap'
import { Clock, startApp } from '../../fixtures/app/app.ts'
import { type Answer, basic, type Grantd } from '../../fixtures/app/grantd.ts'
import { DAY_MS } from '../../fixtures/app/registration.ts'
import { startWebhookReceiver } from '../../fixtures/peers/webhook-receiver.ts'
import { until } from '../../fixtures/run/until.ts'

const HOUR_MS = 3_600_000
const FORM = { 'content-type': 'application/x-www-form-urlencoded' }

interface Credentials {
  clientId: string
  clientSecret: string
}

function rotate(grantd: Grantd, { clientId, clientSecret }: Credentials, headers = {}): Promise<Answer> {
  return grantd.send('POST', '/oauth/secret', {
    headers: { ...FORM, ...headers },
    body: new URLSearchParams({ client_id: clientId, client_secret: clientSecret }).toString()
  })
}

async function start(t: Test, environment = {}) {
  const clock = new Clock()
  const grantd = await startApp(t, { now: clock.now, environment })
  const expiresAt = new Date(clock.time + 300 * DAY_MS).toISOString()
  const client = await grantd.register({ expiresAt, selfRotation: true })
  clock.advance(HOUR_MS)
  return { clock, grantd, client, expiresAt }
}

t.test('a client exchanges its current secret for a new one, and the old one overlaps (spec 45)', async t => {
  const { clock, grantd, client, expiresAt } = await start(t)
  const answer = await rotate(grantd, client)
  t.equal(answer.status, 200)
  t.equal(answer.headers['cache-control'], 'no-store')
  const { client_id: clientId, client_secret: clientSecret, ...rest } = answer.json()
  t.same(rest, {})
  t.equal(clientId, client.clientId)
  const fresh = { clientId, clientSecret }
  for (const secret of [client, fresh]) t.equal((await grantd.exchange(secret)).status, 200)
  t.match((await grantd.asAdmin('GET', client.path)).json(), {
    expiresAt,
    previousCredential: { expiresAt: new Date(clock.time + DAY_MS).toISOString() }
  })
  clock.advance(DAY_MS)
  t.equal((await grantd.exchange(client)).status, 401)
  t.equal((await grantd.exchange(fresh)).status, 200)
  const [event] = (await grantd.asAdmin('GET', '/v1/sites/acme/audit-events?limit=1')).json().items
  t.match(event, { action: 'credential.rotated', actor: 'client', source: '127.0.0.1' })
})

// [SECRET-49]
t.test('a client rotates at most once an hour, also while both of its secrets are in use (spec 45)', async t => {
  const { clock, grantd, client } = await start(t)
  let current: Credentials = client
  for (let time = 0; time < 3; time++) {
    t.equal((await grantd.exchange(current)).status, 200)
    const { client_secret: clientSecret } = (await rotate(grantd, current)).json()
    current = { clientId: client.clientId, clientSecret }
    const early = await rotate(grantd, current)
    t.match(early.json(), { error: 'slow_down' })
    t.equal(early.status, 429)
    t.equal(early.headers['retry-after'], '3600')
    t.equal((await grantd.exchange(current)).status, 200)
    clock.advance(HOUR_MS)
  }
  t.equal((await grantd.exchange(client)).status, 401, 'two secrets at most are accepted')
})

// [SECRET-50]
t.test('the previous secret cannot rotate: 403 (spec 45)', async t => {
  const { clock, grantd, client } = await start(t)
  const { client_secret: clientSecret } = (await rotate(grantd, client)).json()
  clock.advance(HOUR_MS)
  const answer = await rotate(grantd, client)
  t.equal(answer.status, 403)
  t.match(answer.json(), { error: 'unauthorized_client', error_description: /current/ })
  t.equal((await rotate(grantd, { ...client, clientSecret })).status, 200)
})

t.test('a registration without selfRotation does not let its client rotate: 403', async t => {
  const clock = new Clock()
  const grantd = await startApp(t, { now: clock.now })
  const client = await grantd.register({ expiresAt: new Date(clock.time + DAY_MS).toISOString() })
  clock.advance(HOUR_MS)
  t.equal((await grantd.asAdmin('GET', client.path)).json().selfRotation, false, 'it is off by default')
  const answer = await rotate(grantd, client)
  t.equal(answer.status, 403)
  t.match(answer.json(), { error: 'unauthorized_client' })
  await grantd.asAdmin('PATCH', client.path, { body: { selfRotation: true } })
  t.equal((await rotate(grantd, client)).status, 200)
})

// [TOKEN-20]
t.test('what the token endpoint refuses is refused here too, with the same bytes', async t => {
  const { grantd, client } = await start(t)
  const wrong = { clientId: client.clientId, clientSecret: `${client.clientSecret}x` }
  const { clientSecret } = await grantd.register({ expiresAt: new Date(Date.now() + DAY_MS).toISOString() })
  for (const credentials of [wrong, { ...client, clientSecret }, { clientId: '0'.repeat(20), clientSecret }]) {
    const [here, there] = [await rotate(grantd, credentials), await grantd.exchange(credentials)]
    t.equal(here.status, 401)
    t.equal(here.text, there.text)
    t.equal(here.headers['www-authenticate'], there.headers['www-authenticate'])
  }
  await grantd.asAdmin('PATCH', client.path, { body: { enabled: false } })
  t.match((await rotate(grantd, client)).json(), { error: 'invalid_client', error_description: /disabled/ })
  t.equal((await grantd.send('GET', '/oauth/secret')).status, 405)
  t.equal((await grantd.send('POST', '/oauth/secret', { headers: { 'content-type': 'application/json' } })).status, 400)
  t.equal((await grantd.send('POST', `/oauth/secret?client_secret=${clientSecret}`, { headers: FORM })).status, 400)
  const assertion = { client_assertion_type: 'x', client_assertion: 'a.b.c', client_id: client.clientId }
  const body = new URLSearchParams(assertion).toString()
  t.ok([400, 401].includes((await grantd.send('POST', '/oauth/secret', { headers: FORM, body })).status))
})

t.test('a client with Basic rotates too, and a retry with the same Idempotency-Key gets the lost answer', async t => {
  const { grantd, client } = await start(t)
  const headers = { authorization: basic(client.clientId, client.clientSecret), 'idempotency-key': randomUUID() }
  const send = () => grantd.send('POST', '/oauth/secret', { headers: { ...FORM, ...headers } })
  const first = await send()
  t.equal(first.status, 200)
  t.equal((await send()).text, first.text)
  t.equal((await rotate(grantd, client, { 'idempotency-key': 'short' })).status, 400)
  t.equal((await rotate(grantd, client, { 'idempotency-key': randomUUID() })).status, 403)
})

t.test('the Site gets a notice with the source, and of two rotations at once one is 200', async t => {
  const receiver = await startWebhookReceiver(t)
  const { grantd, client } = await start(t, { NOTICE_WEBHOOK_ALLOW: '127.0.0.1', NOTICE_INTERVAL_SECONDS: '3600' })
  await grantd.asAdmin('POST', '/v1/sites/acme/notice-receivers', { body: { kind: 'webhook', url: receiver.url } })
  const answers = await Promise.all([rotate(grantd, client), rotate(grantd, client)])
  t.same(answers.map(({ status }) => status).sort(), [200, 403])
  await until('it arrives', () => receiver.received.length === 1)
  t.match(receiver.received[0]?.event, {
    type: 'com.grantd.registration.secret_self_rotated',
    data: { clientId: client.clientId, source: '127.0.0.1' }
  })
  t.match((await grantd.asAdmin('GET', '/v1/sites/acme/notices')).json().items, [
    { type: 'secret_self_rotated', details: { source: '127.0.0.1' } }
  ])
})

t.test(
  'a rotation that is refused shows in the diagnosis, with or without a credential of the registration',
  async t => {
    const grantd = await startApp(t)
    const shows = async (client: Credentials & { path: string }, slot: string, reason: string) => {
      // An instance writes its first refusal at once, and the next ones ten seconds later.
      await rotate(await startApp(t, { databaseUrl: grantd.databaseUrl }), client)
      await until(reason, async () => {
        const { refusals } = (await grantd.asAdmin('GET', `${client.path}/diagnosis`)).json()
        return refusals[slot]?.reason === reason
      })
    }
    await shows(await grantd.register(), 'withCredential', 'self_rotation_not_allowed')
    await shows(await grantd.register({ enabled: false }), 'withCredential', 'disabled')
    await shows(await grantd.register({ selfRotation: true }), 'withCredential', 'rotated_recently')
    const { clientSecret } = await grantd.register()
    await shows({ ...(await grantd.register()), clientSecret }, 'withoutCredential', 'wrong_secret')
  }
)
