import { randomUUID } from 'node:crypto'
import { Webhook } from 'standardwebhooks'
import t, { type Test } from 'tap'
import { Clock, startApp } from '../fixtures/app/app.ts'
import { query } from '../fixtures/app/database.ts'
import type { Grantd, Json } from '../fixtures/app/grantd.ts'
import { DAY_MS } from '../fixtures/app/registration.ts'
import { startMailServer } from '../fixtures/peers/mail-server.ts'
import { startWebhookReceiver, type WebhookReceiver } from '../fixtures/peers/webhook-receiver.ts'
import { until } from '../fixtures/run/until.ts'

const NOTICES = '/v1/sites/acme/notices'
const RECEIVERS = '/v1/sites/acme/notice-receivers'
const SECRETS = [1, 2].map(byte => `whsec_${Buffer.alloc(32, byte).toString('base64')}`)

/** An instance that looks for what is due all the time, a webhook of its Site, and a clock to move. */
async function startNotices(t: Test, environment = {}) {
  const clock = new Clock()
  const receiver = await startWebhookReceiver(t)
  const grantd = await startApp(t, {
    environment: { NOTICE_WEBHOOK_ALLOW: '127.0.0.1', ...environment },
    noticeIntervalSeconds: 0.1,
    now: clock.now
  })
  const made = await grantd.asAdmin('POST', RECEIVERS, { body: { kind: 'webhook', url: receiver.url } })
  const inDays = (days: number) => new Date(clock.time + days * DAY_MS).toISOString()
  return { clock, receiver, grantd, receiverId: made.json().receiverId as string, inDays }
}

async function list(grantd: Grantd, search = ''): Promise<Json[]> {
  const answer = await grantd.asAdmin('GET', `${NOTICES}${search}`)
  if (answer.status !== 200) throw new Error(answer.text)
  return answer.json().items
}

async function untilDeliveries(grantd: Grantd, what: string, expected: (states: string[]) => boolean): Promise<void> {
  await until(what, async () => {
    const states = (await list(grantd)).flatMap(({ deliveries }) => deliveries.map(({ state }: Json) => state))
    return expected(states)
  })
}

const untilReceived = (receiver: WebhookReceiver, count: number) =>
  until(`${count} arrive`, () => receiver.received.length === count)

t.test(
  'receivers are notified 30 days before, 7 days before and at expiry, and the listing shows it (spec 30, 33)',
  async t => {
    const { clock, receiver, grantd, receiverId, inDays } = await startNotices(t)
    const expiresAt = inDays(31)
    const { clientId, clientSecret } = await grantd.register({ name: 'billing', expiresAt })
    t.same(await list(grantd), [])
    for (const [days, count] of [
      [1, 1],
      [23, 2],
      [7, 3]
    ] as const) {
      clock.advance(days * DAY_MS)
      await untilReceived(receiver, count)
    }
    await untilDeliveries(grantd, 'all are delivered', states => states.every(state => state === 'delivered'))
    t.same(
      receiver.received.map(({ event }) => [event.type, event.data.step, event.data.daysLeft, event.data.expiresAt]),
      [
        ['com.grantd.registration.expiring', 30, 30, expiresAt],
        ['com.grantd.registration.expiring', 7, 7, expiresAt],
        ['com.grantd.registration.expired', 0, 0, expiresAt]
      ]
    )
    const notices = await list(grantd)
    t.same(
      notices.map(({ step }) => step),
      [0, 7, 30],
      'the latest first'
    )
    t.match(notices[0], {
      clientId,
      name: 'billing',
      enabled: true,
      expiresAt,
      firedAt: new Date(clock.time).toISOString(),
      deliveries: [
        { receiverId, kind: 'webhook', state: 'delivered', attempts: 1, lastError: null, nextAttemptAt: null }
      ]
    })
    t.same(
      notices.map(({ noticeId }) => noticeId),
      receiver.received.map(({ event }) => event.id).reverse()
    )
    t.notMatch(JSON.stringify(receiver.received), clientSecret)
  }
)

t.test('a renewal cancels the pending deliveries of the old expiry and arms the new one (spec 31)', async t => {
  const { clock, receiver, grantd, inDays } = await startNotices(t)
  receiver.answer = response => response.writeHead(503).end()
  const { path } = await grantd.register({ expiresAt: inDays(8) })
  clock.advance(DAY_MS)
  await untilReceived(receiver, 1)
  await untilDeliveries(grantd, 'it failed', states => states[0] === 'pending')
  receiver.answer = response => response.writeHead(204).end()
  await grantd.asAdmin('PATCH', path, { body: { expiresAt: inDays(40) } })
  t.match(await list(grantd), [{ step: 7, deliveries: [{ state: 'cancelled', nextAttemptAt: null }] }])
  clock.advance(10 * DAY_MS)
  await untilReceived(receiver, 2)
  t.same(
    receiver.received.map(({ event }) => event.data.step),
    [7, 30]
  )
  t.match(await list(grantd), [{ step: 30 }, { step: 7, deliveries: [{ state: 'cancelled' }] }])
})

t.test('deleting a registration cancels its pending deliveries, and its notices stay in the listing', async t => {
  const { clock, receiver, grantd, inDays } = await startNotices(t)
  receiver.answer = response => response.writeHead(503).end()
  const { path, clientId } = await grantd.register({ expiresAt: inDays(8) })
  clock.advance(DAY_MS)
  await untilReceived(receiver, 1)
  await grantd.asAdmin('DELETE', path)
  clock.advance(30 * DAY_MS)
  await untilDeliveries(grantd, 'it is cancelled', states => states[0] === 'cancelled')
  t.match(await list(grantd, `?clientId=${clientId}`), [{ clientId, step: 7, deliveries: [{ state: 'cancelled' }] }])
  t.equal(receiver.received.length, 1)
  const [{ noticeId, deliveries }] = await list(grantd)
  const retried = await grantd.asAdmin('POST', `${NOTICES}/${noticeId}/deliveries/${deliveries[0].deliveryId}/retry`)
  t.equal(retried.status, 409)
  t.match(retried.json(), { code: 'cancelled' })
})

t.test('a dead delivery can be retried, with the same event id', async t => {
  const { clock, receiver, grantd, inDays } = await startNotices(t)
  receiver.answer = response => response.writeHead(410).end()
  await grantd.register({ expiresAt: inDays(8) })
  clock.advance(DAY_MS)
  await untilDeliveries(grantd, 'it is dead', states => states[0] === 'dead')
  const [{ noticeId, deliveries }] = await list(grantd)
  t.match(deliveries, [{ attempts: 1, lastError: 'answered 410', nextAttemptAt: null }])
  receiver.answer = response => response.writeHead(204).end()
  const path = `${NOTICES}/${noticeId}/deliveries/${deliveries[0].deliveryId}/retry`
  const retried = await grantd.asAdmin('POST', path)
  t.equal(retried.status, 202)
  t.match(retried.json(), { deliveryId: deliveries[0].deliveryId, state: 'pending', attempts: 0 })
  await untilDeliveries(grantd, 'it is delivered', states => states[0] === 'delivered')
  t.same(
    receiver.received.map(({ headers }) => headers['webhook-id']),
    [noticeId, noticeId]
  )
  t.match((await grantd.asAdmin('GET', '/v1/sites/acme/audit-events?action=delivery.retried')).json().items, [
    { actor: 'ada', subject: deliveries[0].deliveryId, changes: { state: { from: 'dead', to: 'pending' } } }
  ])
})

t.test('a retry is sent at once, and does not wait for the next sweep', async t => {
  const { clock, receiver, grantd, inDays } = await startNotices(t)
  receiver.answer = response => response.writeHead(410).end()
  await grantd.register({ expiresAt: inDays(8) })
  clock.advance(DAY_MS)
  await untilDeliveries(grantd, 'it is dead', states => states[0] === 'dead')
  // Another instance of the same service, which sweeps once an hour.
  const idle = await startApp(t, {
    environment: { NOTICE_WEBHOOK_ALLOW: '127.0.0.1', NOTICE_INTERVAL_SECONDS: '3600' },
    now: clock.now,
    databaseUrl: grantd.databaseUrl
  })
  await grantd.close()
  receiver.answer = response => response.writeHead(204).end()
  const [{ noticeId, deliveries }] = await list(idle)
  const path = `${NOTICES}/${noticeId}/deliveries/${deliveries[0].deliveryId}/retry`
  t.equal((await idle.asAdmin('POST', path)).status, 202)
  await untilReceived(receiver, 2)
  await untilDeliveries(idle, 'it is delivered', states => states[0] === 'delivered')
})

t.test("a Site does not see why the service's own receivers fail, and cannot retry what they have", async t => {
  const server = await startMailServer(t)
  server.refusedRecipients.set('ops@operator.example', 550)
  const { clock, grantd, inDays } = await startNotices(t, {
    SMTP_URL: server.url,
    NOTICE_MAIL_FROM: 'grantd@example.com',
    NOTICE_MAIL_TO: 'Ops <ops@operator.example>, sec@operator.example'
  })
  await grantd.register({ expiresAt: inDays(8) })
  clock.advance(DAY_MS)
  const ofService = async () =>
    (await list(grantd)).flatMap(({ noticeId, deliveries }) =>
      deliveries.flatMap((delivery: Json) => (delivery.receiverId === null ? [{ noticeId, ...delivery }] : []))
    )[0]
  await until('it failed', async () => (await ofService())?.attempts === 1 && (await ofService()).lastError !== null)
  t.equal((await ofService()).lastError, 'The log of grantd has the reason.')
  t.same(
    server.mails.map(({ to }) => to),
    [['sec@operator.example']]
  )
  const retry = async () => {
    const { noticeId, deliveryId } = await ofService()
    return grantd.asAdmin('POST', `${NOTICES}/${noticeId}/deliveries/${deliveryId}/retry`)
  }
  server.refusedRecipients.clear()
  t.equal((await retry()).status, 202)
  await until('it is delivered', async () => (await ofService()).state === 'delivered')
  t.same(
    server.mails.map(({ to }) => to),
    [['sec@operator.example'], ['ops@operator.example']],
    'the retry goes to the one that refused it'
  )
  const refused = await retry()
  t.equal(refused.status, 409)
  t.match(refused.json(), { code: 'already_delivered' })
})

t.test('a receiver that is down for a day then gets every notice once (spec 32)', async t => {
  const { clock, receiver, grantd, inDays } = await startNotices(t)
  let accepted: string[] = []
  let isDown = true
  receiver.answer = (response, request) => {
    if (!isDown) accepted.push(String(request.headers['webhook-id']))
    response.writeHead(isDown ? 503 : 204).end()
  }
  for (let index = 0; index < 3; index++) await grantd.register({ expiresAt: inDays(8) })
  clock.advance(DAY_MS)
  await untilReceived(receiver, 3)
  const downUntil = clock.time + DAY_MS
  while (accepted.length < 3) {
    const pending = async () => (await list(grantd)).flatMap(({ deliveries }) => deliveries)
    await until('all have failed', async () => (await pending()).every(({ lastError }: Json) => lastError !== null))
    const next = (await pending()).flatMap(({ state, nextAttemptAt }: Json) =>
      state === 'pending' ? [Date.parse(nextAttemptAt)] : []
    )
    t.ok(next.length > 0, 'none is dead')
    if (next.length === 0) break
    clock.time = Math.max(clock.time, ...next)
    isDown = clock.time < downUntil
    const [before, count] = [receiver.received.length, next.length]
    await until('all are tried', () => receiver.received.length === before + count)
    await until('the results are written', async () =>
      (await pending()).every(
        ({ state, nextAttemptAt }: Json) => state !== 'pending' || Date.parse(nextAttemptAt) > clock.time
      )
    )
  }
  t.ok(clock.time >= downUntil)
  await untilDeliveries(grantd, 'all are delivered', states => states.every(state => state === 'delivered'))
  t.same(accepted.toSorted(), (await list(grantd)).map(({ noticeId }) => noticeId).sort(), 'each once')
  accepted = []
})

t.test(
  'a clock that is 40 days ahead fires no notice early and deletes none, because the database has the time',
  async t => {
    const clock = new Clock()
    const databaseNow = async () => clock.time
    const grantd = await startApp(t, {
      environment: { NOTICE_WEBHOOK_ALLOW: '127.0.0.1' },
      noticeIntervalSeconds: 0.1,
      now: () => clock.time + 40 * DAY_MS,
      databaseNow
    })
    const inDays = (days: number) => new Date(clock.time + days * DAY_MS).toISOString()
    await grantd.register({ name: 'later', expiresAt: inDays(60) })
    await grantd.register({ name: 'now', expiresAt: inDays(50) })
    // The registration was made by a clock that is ahead: its steps count from then on.
    await query(grantd.databaseUrl, 'update registrations set expiry_set_at = $1', [new Date(clock.time)])
    clock.advance(20 * DAY_MS)
    await until('the due one has fired', async () => (await list(grantd)).length > 0)
    t.same(
      (await list(grantd)).map(({ name, step, firedAt }) => [name, step, firedAt]),
      [['now', 30, new Date(clock.time).toISOString()]]
    )
  }
)

t.test(
  'a webhook is signed with the time of the database, so that a receiver accepts it from a wrong clock',
  async t => {
    const receiver = await startWebhookReceiver(t)
    const grantd = await startApp(t, {
      environment: { NOTICE_WEBHOOK_ALLOW: '127.0.0.1' },
      now: () => Date.now() + 3_600_000,
      databaseNow: async () => Date.now()
    })
    const made = await grantd.asAdmin('POST', RECEIVERS, { body: { kind: 'webhook', url: receiver.url } })
    t.match((await grantd.asAdmin('POST', `${made.headers['location']}/test`)).json(), { delivered: true })
    const [received] = receiver.received
    // The library refuses a time that is more than five minutes off.
    t.ok(new Webhook(made.json().signingSecret).verify(received?.body ?? '', received?.headers ?? {}))
  }
)

t.test('a delivery of another Site or notice is answered byte for byte like an unknown one', async t => {
  const { clock, receiver, grantd, inDays } = await startNotices(t)
  await grantd.register({ expiresAt: inDays(8) })
  await grantd.register({ expiresAt: inDays(8) })
  clock.advance(DAY_MS)
  await untilReceived(receiver, 2)
  const [one, other] = await list(grantd)
  const retry = (site: string, noticeId: string, deliveryId: string) =>
    grantd.asAdmin('POST', `/v1/sites/${site}/notices/${noticeId}/deliveries/${deliveryId}/retry`)
  const unknown = await retry('acme', randomUUID(), randomUUID())
  t.equal(unknown.status, 404)
  const { deliveryId } = one.deliveries[0]
  for (const answer of [
    await retry('umbrella', one.noticeId, deliveryId),
    await retry('acme', other.noticeId, deliveryId),
    await retry('acme', one.noticeId, 'no-id')
  ]) {
    t.equal(answer.status, 404)
    t.equal(answer.text, unknown.text)
  }
  t.same((await grantd.asAdmin('GET', '/v1/sites/umbrella/notices')).json(), { items: [], nextCursor: null })
})

t.test('the listing pages, and filters by client and step; a cursor is valid for its own listing only', async t => {
  const { clock, receiver, grantd, inDays } = await startNotices(t)
  const made = [await grantd.register({ expiresAt: inDays(31) }), await grantd.register({ expiresAt: inDays(32) })]
  for (const [days, count] of [
    [1, 1],
    [1, 2],
    [22, 3],
    [1, 4]
  ] as const) {
    clock.advance(days * DAY_MS)
    await untilReceived(receiver, count)
  }
  const walk = async (search: string) => {
    const steps: string[] = []
    for (let cursor: string | null = ''; cursor !== null; ) {
      const page = await grantd.asAdmin('GET', `${NOTICES}?limit=1${search}${cursor && `&cursor=${cursor}`}`)
      steps.push(...page.json().items.map(({ clientId, step }: Json) => `${clientId} ${step}`))
      cursor = page.json().nextCursor
    }
    return steps
  }
  const [a, b] = made.map(({ clientId }) => clientId)
  t.same(await walk(''), [`${b} 7`, `${a} 7`, `${b} 30`, `${a} 30`])
  t.same(await walk(`&clientId=${a}`), [`${a} 7`, `${a} 30`])
  t.same(await walk('&step=30'), [`${b} 30`, `${a} 30`])
  const { nextCursor } = (await grantd.asAdmin('GET', `${NOTICES}?limit=1`)).json()
  for (const path of [
    `${NOTICES}?cursor=${nextCursor}&step=30`,
    `/v1/sites/umbrella/notices?cursor=${nextCursor}`,
    `/v1/sites/acme/alerts?cursor=${nextCursor}`,
    `/v1/sites/acme/app-registrations?cursor=${nextCursor}`,
    `${NOTICES}?cursor=${nextCursor.slice(0, -2)}`,
    `${NOTICES}?cursor=x`,
    `${NOTICES}?step=x`,
    `${NOTICES}?clientId=x`,
    `${NOTICES}?sort=name`
  ]) {
    t.equal((await grantd.asAdmin('GET', path)).status, 400, path)
  }
})

t.test('the receivers of the configuration get the notices of all Sites, by webhook and by mail', async t => {
  const server = await startMailServer(t)
  const service = await startWebhookReceiver(t)
  const { clock, receiver, grantd, inDays } = await startNotices(t, {
    NOTICE_WEBHOOK_URL: service.url,
    NOTICE_WEBHOOK_SECRET: SECRETS.join(','),
    SMTP_URL: server.url,
    NOTICE_MAIL_FROM: 'grantd <grantd@example.com>',
    NOTICE_MAIL_TO: 'ops@example.com, sec@example.com'
  })
  clock.time = Date.now()
  await grantd.register({ name: 'one', expiresAt: inDays(8) })
  await grantd.register({ name: 'other', expiresAt: inDays(8) }, 'umbrella')
  clock.advance(DAY_MS)
  await until('both arrive by both ways', () => service.received.length === 2 && server.mails.length === 2)
  t.same(service.received.map(({ event }) => event.data.site).sort(), ['acme', 'umbrella'])
  t.match(server.mails[0], {
    to: ['ops@example.com', 'sec@example.com'],
    text: /^Subject: App registration expires in 7 days/m
  })
  const [received] = service.received
  for (const secret of SECRETS) {
    const {
      'webhook-id': id = '',
      'webhook-timestamp': seconds,
      'webhook-signature': signatures
    } = received?.headers ?? {}
    const signature = new Webhook(secret).sign(id, new Date(Number(seconds) * 1_000), received?.body ?? '')
    t.ok(signatures?.split(' ').includes(signature), 'each of the two secrets signs')
  }
  await untilReceived(receiver, 1)
  t.match(receiver.received, [{ event: { data: { site: 'acme' } } }], 'nothing of another Site')
  await untilDeliveries(grantd, 'all are delivered', states => states.every(state => state === 'delivered'))
  const [notice] = await list(grantd)
  t.same(notice.deliveries.map(({ receiverId, kind }: Json) => [receiverId !== null, kind]).sort(), [
    [false, 'mail'],
    [false, 'webhook'],
    [true, 'webhook']
  ])
})

t.test('two instances on one database deliver each notice once', async t => {
  const { clock, receiver, grantd, inDays } = await startNotices(t)
  await startApp(t, {
    environment: { NOTICE_WEBHOOK_ALLOW: '127.0.0.1' },
    noticeIntervalSeconds: 0.1,
    now: clock.now,
    databaseUrl: grantd.databaseUrl
  })
  for (let index = 0; index < 10; index++) await grantd.register({ expiresAt: inDays(8) })
  clock.advance(DAY_MS)
  await untilDeliveries(
    grantd,
    'all are delivered',
    states => states.filter(state => state === 'delivered').length === 10
  )
  clock.advance(7 * DAY_MS)
  await untilDeliveries(
    grantd,
    'all are delivered',
    states => states.filter(state => state === 'delivered').length === 20
  )
  t.equal(receiver.received.length, 20)
  t.equal(new Set(receiver.received.map(({ headers }) => headers['webhook-id'])).size, 20)
})

t.test('notices go on when the database works again', async t => {
  const { clock, receiver, grantd, inDays } = await startNotices(t)
  await grantd.register({ expiresAt: inDays(8) })
  await query(grantd.databaseUrl, 'alter table notices rename to notices_away')
  clock.advance(DAY_MS)
  t.equal((await grantd.asAdmin('GET', NOTICES)).status, 500)
  await query(grantd.databaseUrl, 'alter table notices_away rename to notices')
  await untilReceived(receiver, 1)
})

t.test('grantd does not start with a NOTICE_WEBHOOK_URL that is not public, and names the variable', async t => {
  for (const url of ['https://10.0.0.1/', 'http://127.0.0.1:8080/', 'https://localhost/']) {
    const environment = { NOTICE_WEBHOOK_URL: url, NOTICE_WEBHOOK_SECRET: SECRETS[0] }
    await t.rejects(startApp(t, { environment }), /NOTICE_WEBHOOK_URL must .* NOTICE_WEBHOOK_ALLOW/, url)
  }
})
