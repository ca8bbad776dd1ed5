import { randomUUID } from 'node:crypto'
import { Webhook } from 'standardwebhooks'
import t, { type Test } from 'tap'
import { Clock, startApp } from '../../fixtures/app/app.ts'
import { query } from '../../fixtures/app/database.ts'
import { startMailServer } from '../../fixtures/peers/mail-server.ts'
import { startWebhookReceiver } from '../../fixtures/peers/webhook-receiver.ts'
import { until } from '../../fixtures/run/until.ts'

const COLLECTION = '/v1/sites/acme/notice-receivers'
const ALLOW = { NOTICE_WEBHOOK_ALLOW: '127.0.0.1' }
const HOUR_MS = 3_600_000

/** An instance that may send to the receivers of the tests. */
const start = (t: Test, environment = {}, clock = new Clock()) =>
  startApp(t, {
    environment: { ...ALLOW, ...environment },
    now: clock.now,
    // Names of the tests are nobody's: no name server is asked.
    resolve: async () => [{ address: '8.8.8.8', family: 4 }]
  })

t.test('only the answer that creates a webhook has its signing secret', async t => {
  const grantd = await start(t)
  const made = await grantd.asAdmin('POST', COLLECTION, {
    body: { kind: 'webhook', url: 'https://hooks.example.com/a' }
  })
  t.equal(made.status, 201)
  t.equal(made.headers['cache-control'], 'no-store')
  const { receiverId, signingSecret, ...rest } = made.json()
  t.match(signingSecret, /^whsec_[A-Za-z0-9+/]{43}=$/)
  t.match(rest, {
    kind: 'webhook',
    url: 'https://hooks.example.com/a',
    addresses: null,
    steps: null,
    previousSecretExpiresAt: null
  })
  t.equal(made.headers['location'], `${COLLECTION}/${receiverId}`)
  const read = await grantd.asAdmin('GET', `${COLLECTION}/${receiverId}`)
  t.same(read.json(), { receiverId, ...rest })
  t.same((await grantd.asAdmin('GET', COLLECTION)).json(), { items: [{ receiverId, ...rest }] })
  const stored = JSON.stringify(await query(grantd.databaseUrl, 'select * from notice_receivers'))
  t.notMatch(stored, signingSecret)
  t.notMatch(stored, Buffer.from(signingSecret.slice(6), 'base64').toString('hex'))
})

t.test('a receiver can be changed and deleted', async t => {
  const grantd = await start(t)
  const { receiverId } = (
    await grantd.asAdmin('POST', COLLECTION, { body: { kind: 'webhook', url: 'https://hooks.example.com/a' } })
  ).json()
  const path = `${COLLECTION}/${receiverId}`
  const changed = await grantd.asAdmin('PATCH', path, { body: { url: 'https://hooks.example.com/b', steps: [7, 0] } })
  t.match(changed.json(), { url: 'https://hooks.example.com/b', steps: [7, 0] })
  t.match((await grantd.asAdmin('PATCH', path, { body: { steps: null } })).json(), { steps: null })
  t.equal((await grantd.asAdmin('DELETE', path)).status, 204)
  for (const method of ['GET', 'DELETE']) t.equal((await grantd.asAdmin(method, path)).status, 404)
  t.equal((await grantd.asAdmin('PATCH', path, { body: { steps: null } })).status, 404)
  for (const action of ['test', 'rotate-secret'])
    t.equal((await grantd.asAdmin('POST', `${path}/${action}`)).status, 404)
})

// [NOTICE-10]
t.test('each fault of a receiver is reported with its place', async t => {
  const grantd = await start(t)
  const url = 'https://hooks.example.com/'
  for (const [body, pointer, code] of [
    [{}, '/kind', 'required'],
    [{ kind: 'webhook' }, '/url', 'required'],
    [{ kind: 'pigeon', url }, '/kind', 'invalid_value'],
    [{ kind: 'webhook', url, addresses: ['a@example.com'] }, '/addresses', 'unknown_member'],
    [{ kind: 'webhook', url: 'http://hooks.example.com/' }, '/url', 'invalid_value'],
    [{ kind: 'webhook', url: 'https://user:pass@hooks.example.com/' }, '/url', 'invalid_value'],
    [{ kind: 'webhook', url: 'https://169.254.169.254/latest' }, '/url', 'invalid_value'],
    [{ kind: 'webhook', url: 'https://0x7f000002/' }, '/url', 'invalid_value'],
    [{ kind: 'webhook', url: 'https://[::ffff:10.0.0.1]/' }, '/url', 'invalid_value'],
    [{ kind: 'webhook', url: 'https://localhost/' }, '/url', 'invalid_value'],
    [{ kind: 'webhook', url: 1 }, '/url', 'wrong_type'],
    [{ kind: 'webhook', url, steps: [14] }, '/steps/0', 'invalid_value'],
    [{ kind: 'webhook', url, steps: [] }, '/steps', 'invalid_value'],
    [{ kind: 'webhook', url, steps: [7, 7] }, '/steps', 'invalid_value'],
    [{ kind: 'webhook', url, signingSecret: 'whsec_x' }, '/signingSecret', 'unknown_member'],
    [{ kind: 'webhook', url, receiverId: 'x' }, '/receiverId', 'unknown_member'],
    [{ kind: 'mail', addresses: ['ops@example.com'] }, '/kind', 'mail_not_configured'],
    [{ kind: 'mail', addresses: ['a b@example.com'] }, '/addresses/0', 'invalid_value'],
    [{ kind: 'mail', addresses: ['a@b.c\r\nBcc: d@e.f'] }, '/addresses/0', 'invalid_value'],
    [{ kind: 'mail', addresses: [] }, '/addresses', 'invalid_value'],
    [{ kind: 'mail', url, addresses: ['a@example.com'] }, '/url', 'unknown_member']
  ] as const) {
    const answer = await grantd.asAdmin('POST', COLLECTION, { body })
    t.equal(answer.status, 400, JSON.stringify(body))
    t.match(
      answer.json().errors.find((fault: { pointer: string }) => fault.pointer === pointer),
      { code },
      JSON.stringify(body)
    )
  }
  t.same((await grantd.asAdmin('GET', COLLECTION)).json(), { items: [] })
  const { receiverId } = (await grantd.asAdmin('POST', COLLECTION, { body: { kind: 'webhook', url } })).json()
  for (const body of [
    {},
    { kind: 'mail' },
    { addresses: ['a@example.com'] },
    { url: 'https://10.0.0.1/' },
    { steps: [1] }
  ]) {
    t.equal((await grantd.asAdmin('PATCH', `${COLLECTION}/${receiverId}`, { body })).status, 400, JSON.stringify(body))
  }
  t.match((await grantd.asAdmin('GET', `${COLLECTION}/${receiverId}`)).json(), { url })
})

t.test('a webhook whose host leads to a private address is refused when it is saved', async t => {
  const clock = new Clock()
  const leads = new Map([
    ['inside.example.com', '10.0.0.1'],
    ['outside.example.com', '8.8.8.8']
  ])
  const grantd = await startApp(t, {
    now: clock.now,
    resolve: async host => {
      const address = leads.get(host)
      if (address === undefined) throw Object.assign(new Error('queryA ETIMEOUT'), { code: 'ETIMEOUT' })
      return [{ address, family: 4 }]
    }
  })
  const make = (host: string) =>
    grantd.asAdmin('POST', COLLECTION, { body: { kind: 'webhook', url: `https://${host}/` } })
  t.match((await make('inside.example.com')).json(), { errors: [{ pointer: '/url' }] })
  t.equal((await make('outside.example.com')).status, 201)
  const down = await make('down.example.com')
  t.equal(down.status, 201, 'a host that its name servers do not answer for is checked when it is sent to')
  leads.set('down.example.com', '127.0.0.1')
  const tested = await grantd.asAdmin('POST', `${down.headers['location']}/test`)
  t.match(tested.json(), { delivered: false, detail: 'the host does not lead to a public address' })
})

t.test('a test event is sent like a notice, and the answer has its result', async t => {
  const clock = new Clock()
  clock.time = Date.now()
  const grantd = await start(t, {}, clock)
  const receiver = await startWebhookReceiver(t)
  const made = await grantd.asAdmin('POST', COLLECTION, { body: { kind: 'webhook', url: receiver.url } })
  const { receiverId, signingSecret } = made.json()
  const tested = await grantd.asAdmin('POST', `${COLLECTION}/${receiverId}/test`)
  t.equal(tested.status, 200)
  t.match(tested.json(), { delivered: true, detail: 'answered 204' })
  const [received] = receiver.received
  t.ok(new Webhook(signingSecret).verify(received?.body ?? '', received?.headers ?? {}))
  t.match(received?.event, {
    id: tested.json().eventId,
    type: 'com.grantd.notice-receiver.test',
    data: { site: 'acme', receiverId }
  })
  receiver.answer = response => response.writeHead(302, { location: receiver.url }).end()
  t.match((await grantd.asAdmin('POST', `${COLLECTION}/${receiverId}/test`)).json(), {
    delivered: false,
    detail: 'answered 302'
  })
  t.equal(receiver.received.length, 2, 'the redirect was not followed')
})

t.test('a Site runs at most four tests at once, and does not hold up the tests of another Site', async t => {
  const grantd = await start(t)
  const held = Promise.withResolvers<void>()
  const receiver = await startWebhookReceiver(t, async response => {
    await held.promise
    response.writeHead(204).end()
  })
  const made = await grantd.asAdmin('POST', COLLECTION, { body: { kind: 'webhook', url: receiver.url } })
  const test = () => grantd.asAdmin('POST', `${made.headers['location']}/test`)
  const tests = Array.from({ length: 4 }, test)
  await until('all are under way', () => receiver.received.length === 4)
  const refused = await test()
  t.equal(refused.status, 503)
  t.equal(refused.headers['retry-after'], '1')
  const elsewhere = '/v1/sites/umbrella/notice-receivers'
  const other = await startWebhookReceiver(t)
  const elsewhereMade = await grantd.asAdmin('POST', elsewhere, { body: { kind: 'webhook', url: other.url } })
  t.match((await grantd.asAdmin('POST', `${elsewhereMade.headers['location']}/test`)).json(), { delivered: true })
  held.resolve()
  for (const { status } of await Promise.all(tests)) t.equal(status, 200)
  t.equal((await test()).status, 200)
})

/** A webhook, and who signs for it. */
async function startSigning(t: Test) {
  const clock = new Clock()
  clock.time = Date.now()
  const grantd = await start(t, {}, clock)
  const receiver = await startWebhookReceiver(t)
  const first = (await grantd.asAdmin('POST', COLLECTION, { body: { kind: 'webhook', url: receiver.url } })).json()
  const path = `${COLLECTION}/${first.receiverId}`
  /** The signatures of a test event, and those that these secrets make for it. */
  const signaturesBy = async (...secrets: { signingSecret: string }[]) => {
    await grantd.asAdmin('POST', `${path}/test`)
    const { headers = {}, body = '' } = receiver.received.at(-1) ?? {}
    const signedAt = new Date(Number(headers['webhook-timestamp']) * 1_000)
    const known = secrets.map(({ signingSecret }) =>
      new Webhook(signingSecret).sign(headers['webhook-id'] ?? '', signedAt, body)
    )
    return { sent: headers['webhook-signature']?.split(' '), known }
  }
  return { clock, grantd, first, path, signaturesBy }
}

t.test('after a rotation the previous secret signs beside the new one for 24 hours', async t => {
  const { clock, grantd, first, path, signaturesBy } = await startSigning(t)
  const rotated = await grantd.asAdmin('POST', `${path}/rotate-secret`)
  t.equal(rotated.status, 200)
  const second = rotated.json()
  t.not(second.signingSecret, first.signingSecret)
  t.equal(second.previousSecretExpiresAt, new Date(clock.time + 24 * HOUR_MS).toISOString())
  const both = await signaturesBy(second, first)
  t.same(both.sent, both.known, 'both, the new one first')
  clock.advance(24 * HOUR_MS)
  const one = await signaturesBy(second)
  t.same(one.sent, one.known, 'the new one alone')
  t.match((await grantd.asAdmin('GET', path)).json(), { previousSecretExpiresAt: null })
})

t.test('a second rotation within 24 hours replaces the new secret and keeps the previous one', async t => {
  const { clock, grantd, first, path, signaturesBy } = await startSigning(t)
  const lost = (await grantd.asAdmin('POST', `${path}/rotate-secret`)).json()
  clock.advance(HOUR_MS)
  const second = (await grantd.asAdmin('POST', `${path}/rotate-secret`)).json()
  t.equal(second.previousSecretExpiresAt, lost.previousSecretExpiresAt)
  const { sent, known } = await signaturesBy(second, first)
  t.same(sent, known, 'the latest and the one before, nothing else')
})

t.test('a mail receiver can be created where a mail server is configured', async t => {
  const server = await startMailServer(t)
  const grantd = await start(t, { SMTP_URL: server.url, NOTICE_MAIL_FROM: 'grantd@example.com' })
  const made = await grantd.asAdmin('POST', COLLECTION, {
    body: { kind: 'mail', addresses: ['ops@example.com', 'sec@example.com'], steps: [0] }
  })
  t.equal(made.status, 201)
  t.match(made.json(), { kind: 'mail', url: null, signingSecret: null, steps: [0] })
  const path = `${COLLECTION}/${made.json().receiverId}`
  t.match((await grantd.asAdmin('POST', `${path}/test`)).json(), { delivered: true })
  t.match(server.mails, [
    { to: ['ops@example.com', 'sec@example.com'], text: /^Subject: Test of a notice receiver\r$/m }
  ])
  t.equal((await grantd.asAdmin('POST', `${path}/rotate-secret`)).status, 409)
  t.match((await grantd.asAdmin('PATCH', path, { body: { addresses: ['x@example.com'] } })).json(), {
    addresses: ['x@example.com']
  })
})

t.test('the quota of receivers holds exactly, and deleting one frees a place', async t => {
  const grantd = await start(t, { MAX_NOTICE_RECEIVERS_PER_SITE: '3' })
  const make = (site = 'acme') =>
    grantd.asAdmin('POST', `/v1/sites/${site}/notice-receivers`, { body: { kind: 'webhook', url: 'https://8.8.8.8/' } })
  const answers = await Promise.all(Array.from({ length: 12 }, () => make()))
  t.equal(answers.filter(({ status }) => status === 201).length, 3)
  t.equal(answers.filter(({ status }) => status === 409).length, 9)
  t.match(answers.find(({ status }) => status === 409)?.json(), { code: 'quota_exceeded' })
  t.equal((await make('umbrella')).status, 201)
  const one = answers.find(({ status }) => status === 201)
  await grantd.asAdmin('DELETE', `${one?.headers['location']}`)
  t.equal((await make()).status, 201)
})

t.test("another Site's receiver is answered byte for byte like an unknown one", async t => {
  const grantd = await start(t)
  const made = await grantd.asAdmin('POST', '/v1/sites/umbrella/notice-receivers', {
    body: { kind: 'webhook', url: 'https://8.8.8.8/' }
  })
  const { receiverId } = made.json()
  for (const [method, suffix, body] of [
    ['GET', '', undefined],
    ['PATCH', '', { steps: null }],
    ['DELETE', '', undefined],
    ['POST', '/test', undefined],
    ['POST', '/rotate-secret', undefined]
  ] as const) {
    const [foreign, unknown] = await Promise.all(
      [receiverId, randomUUID()].map(id =>
        grantd.asAdmin(method, `${COLLECTION}/${id}${suffix}`, { sites: ['acme'], ...(body && { body }) })
      )
    )
    t.equal(foreign?.status, 404)
    t.equal(foreign?.text, unknown?.text)
  }
  t.same((await grantd.asAdmin('GET', COLLECTION)).json(), { items: [] })
  t.equal((await grantd.asAdmin('GET', `${made.headers['location']}`)).status, 200)
})
