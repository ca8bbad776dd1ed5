import { randomBytes, randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { Sealing } from '../../src/crypto/key-encryption.ts'
import { AddressGuard } from '../../src/notifications/channels/address-guard.ts'
import { WEBHOOK_TIMEOUT_MS } from '../../src/notifications/channels/guarded-post.ts'
import { createSigningSecret } from '../../src/notifications/channels/standard-webhooks.ts'
import { MAX_ATTEMPTS, retryDelayMs } from '../../src/notifications/outbox/backoff.ts'
import { Outbox, type OutboxOptions } from '../../src/notifications/outbox/outbox.ts'
import { claimDeliveries } from '../../src/notifications/outbox/repository.ts'
import { encryptSigningSecret } from '../../src/notifications/receivers/signing-secrets.ts'
import { Clock } from '../fixtures/app/app.ts'
import { asServingRole, createDatabase, openTestDatabase, query } from '../fixtures/app/database.ts'
import { DAY_MS } from '../fixtures/app/registration.ts'
import { insertRegistrationRow } from '../fixtures/app/registration-row.ts'
import { startWebhookReceiver } from '../fixtures/peers/webhook-receiver.ts'
import { until } from '../fixtures/run/until.ts'

const SEALING = new Sealing(randomBytes(32))

interface DeliveryRow {
  receiver_id: string
  state: string
  attempts: number
  due_at: Date
  last_error: string | null
}

/** Notices of one registration, and outboxes of as many instances as asked for to deliver them. */
async function startOutbox(t: Test, options: { instances?: number; timeoutMs?: number; now?: () => number } = {}) {
  const clock = new Clock()
  const databaseUrl = await createDatabase(t)
  const { expiresAt, clientId } = await insertRegistrationRow(databaseUrl, {
    expiresAt: clock.time + 7 * DAY_MS,
    armedAt: clock.time - DAY_MS
  })
  const errors: unknown[] = []
  const results: string[] = []
  const needs = (): OutboxOptions => ({
    db: openTestDatabase(t, asServingRole(databaseUrl)),
    channels: {
      guard: new AddressGuard({ items: ['127.0.0.1'], allowsPlainHttp: true }),
      resolve: async () => [],
      timeoutMs: options.timeoutMs ?? WEBHOOK_TIMEOUT_MS,
      mail: undefined,
      now: options.now ?? clock.now
    },
    sealing: SEALING,
    issuer: 'https://grantd.example.com',
    serviceReceivers: new Map(),
    databaseNow: async () => (options.now ?? clock.now)(),
    onResult: (_delivery, result) => results.push(result),
    onError: error => errors.push(error)
  })
  const outboxes = Array.from({ length: options.instances ?? 1 }, () => new Outbox(needs()))
  t.teardown(() => Promise.all(outboxes.map(outbox => outbox.close())))
  const addReceiver = async (url: string, { sealing = SEALING, site = 'acme' } = {}): Promise<string> => {
    const id = randomUUID()
    const sealed = await encryptSigningSecret(sealing, id, createSigningSecret())
    await query(
      databaseUrl,
      `insert into notice_receivers (id, site_id, kind, target, secret_jwe, created_at)
       values ($1, $2, 'webhook', $3, $4, now())`,
      [id, site, { url }, sealed]
    )
    return id
  }
  /** So many notices with a delivery to this receiver each. */
  const addDeliveries = async (receiverId: string | null, count = 1): Promise<void> => {
    await query(
      databaseUrl,
      `with made as (
         insert into notices
         select gen_random_uuid(), 'acme', $1, 'a service', true, $2, (select count(*) from notices) + n, $3
         from generate_series(1, $4::integer) n returning id
       )
       insert into notice_deliveries (id, notice_id, site_id, receiver_id, kind, state, attempts, due_at)
       select gen_random_uuid(), id, coalesce((select site_id from notice_receivers where id = $5), 'acme'), $5, 'webhook',
         'pending', 0, $3 from made`,
      [clientId, new Date(expiresAt), new Date(clock.time), count, receiverId]
    )
  }
  const deliveries = async (): Promise<DeliveryRow[]> => {
    const rows = await query(databaseUrl, 'select * from notice_deliveries order by receiver_id, id')
    return rows.map(Object)
  }
  const send = async () => {
    await Promise.all(outboxes.map(outbox => outbox.pump()))
    await Promise.all(outboxes.map(outbox => outbox.idle()))
  }
  return { clock, databaseUrl, needs, outboxes, errors, results, addReceiver, addDeliveries, deliveries, send }
}

t.test('everything that is due is delivered, each once, however many instances send', async t => {
  const { addReceiver, addDeliveries, deliveries, send, results } = await startOutbox(t, { instances: 3 })
  const receivers = await Promise.all([1, 2, 3].map(() => startWebhookReceiver(t)))
  for (const { url } of receivers) await addDeliveries(await addReceiver(url), 30)
  await send()
  for (const { received } of receivers) {
    t.equal(received.length, 30)
    t.equal(new Set(received.map(({ headers }) => headers['webhook-id'])).size, 30)
  }
  t.ok((await deliveries()).every(({ state, attempts }) => state === 'delivered' && attempts === 1))
  t.same(new Set(results), new Set(['delivered']))
})

// [FAULT-23]
t.test('a receiver that is dead, slow or answers without end delays no other', async t => {
  const { addReceiver, addDeliveries, deliveries, outboxes } = await startOutbox(t, { timeoutMs: 3_000 })
  const silent = await startWebhookReceiver(t, () => {})
  const endless = await startWebhookReceiver(t, response => {
    response.writeHead(200)
    const write = () => {
      while (!response.destroyed && response.write('x'.repeat(1_024)));
    }
    response.on('drain', write)
    write()
  })
  const good = await startWebhookReceiver(t)
  for (const url of [silent.url, 'http://127.0.0.1:1/', endless.url]) await addDeliveries(await addReceiver(url), 40)
  const goodId = await addReceiver(good.url)
  await addDeliveries(goodId, 40)
  const started = performance.now()
  await outboxes[0]?.pump()
  await until('the good one has all', () => good.received.length === 40, 2_900)
  t.ok(performance.now() - started < 3_000, 'before the first of the silent one was given up')
  t.ok(silent.received.length <= 2, `${silent.received.length} at once to one receiver`)
  await until('they are written', async () =>
    (await deliveries()).filter(({ receiver_id }) => receiver_id === goodId).every(({ state }) => state === 'delivered')
  )
  await outboxes[0]?.close()
})

t.test('a receiver that fails is tried again, later each time, with the same event id, until it is dead', async t => {
  const { clock, addReceiver, addDeliveries, deliveries, send, results } = await startOutbox(t)
  const receiver = await startWebhookReceiver(t, response => response.writeHead(500).end())
  await addDeliveries(await addReceiver(receiver.url))
  const waits: number[] = []
  for (let attempt = 1; attempt <= MAX_ATTEMPTS; attempt++) {
    await send()
    const [row] = await deliveries()
    t.match(row, { attempts: attempt, last_error: 'answered 500' })
    if (attempt === MAX_ATTEMPTS) break
    t.equal(row?.state, 'pending')
    waits.push((row?.due_at.getTime() ?? 0) - clock.time)
    clock.advance((waits.at(-1) ?? 0) - 1)
    await send()
    t.equal(receiver.received.length, attempt, 'not before its time')
    clock.advance(1)
  }
  t.equal((await deliveries())[0]?.state, 'dead')
  clock.advance(365 * DAY_MS)
  await send()
  t.equal(receiver.received.length, MAX_ATTEMPTS)
  t.equal(new Set(receiver.received.map(({ headers }) => headers['webhook-id'])).size, 1)
  t.equal(new Set(receiver.received.map(({ body }) => body)).size, 1)
  t.equal(new Set(receiver.received.map(({ headers }) => headers['webhook-timestamp'])).size, MAX_ATTEMPTS)
  t.same(results, [...Array(MAX_ATTEMPTS - 1).fill('failed'), 'dead'])
  t.ok(waits.every((wait, index) => index === 0 || wait > (waits[index - 1] ?? 0) * 0.5))
})

t.test('the delay grows fourfold up to twelve hours, and a quarter of it is random', async t => {
  t.equal(retryDelayMs(1, 0), 10_000)
  t.equal(retryDelayMs(1, 1), 7_500)
  t.equal(retryDelayMs(2, 0), 40_000)
  t.equal(retryDelayMs(9, 0), 12 * 3_600_000)
  t.equal(retryDelayMs(1_000, 1), 9 * 3_600_000)
})

t.test('ten tries span more than a day, however the random part falls (spec 32)', async t => {
  const spanMs = (random: number) =>
    Array.from({ length: MAX_ATTEMPTS - 1 }, (_, index) => retryDelayMs(index + 1, random)).reduce((a, b) => a + b)
  t.ok(spanMs(1) > DAY_MS, `at least ${spanMs(1) / 3_600_000} hours`)
  t.ok(spanMs(0) < 2 * DAY_MS, `at most ${spanMs(0) / 3_600_000} hours`)
})

t.test('410 Gone is the last word', async t => {
  const { addReceiver, addDeliveries, deliveries, send } = await startOutbox(t)
  const receiver = await startWebhookReceiver(t, response => response.writeHead(410).end())
  await addDeliveries(await addReceiver(receiver.url))
  await send()
  t.match(await deliveries(), [{ state: 'dead', attempts: 1 }])
})

t.test('a crash between claim and outcome is made good once the lease is over, and not before', async t => {
  const { clock, databaseUrl, addReceiver, addDeliveries, deliveries, send } = await startOutbox(t)
  const receiver = await startWebhookReceiver(t)
  await addDeliveries(await addReceiver(receiver.url))
  // Another instance takes it, and is heard of no more.
  const claimed = await claimDeliveries(openTestDatabase(t, databaseUrl), {
    now: new Date(clock.time),
    leaseUntil: new Date(clock.time + 60_000),
    exceptQueues: [],
    slowQueues: [],
    slowLimit: 10,
    limit: 10,
    limitPerQueue: 10,
    limitPerSite: 10,
    underWay: new Map()
  })
  t.equal(claimed.length, 1)
  await send()
  clock.advance(59_999)
  await send()
  t.equal(receiver.received.length, 0)
  clock.advance(1)
  await send()
  t.equal(receiver.received.length, 1)
  t.match(await deliveries(), [{ state: 'delivered', attempts: 2 }])
})

t.test('what is no longer due is not sent: renewed, deleted, or the receiver gone', async t => {
  for (const change of [
    "update registrations set expires_at = expires_at + interval '1 day'",
    'delete from registrations',
    'delete from notice_receivers'
  ]) {
    const { addReceiver, addDeliveries, deliveries, send, databaseUrl } = await startOutbox(t)
    const receiver = await startWebhookReceiver(t)
    await addDeliveries(await addReceiver(receiver.url), 3)
    await query(databaseUrl, change)
    await send()
    t.equal(receiver.received.length, 0, change)
    t.ok(
      (await deliveries()).every(({ state, attempts }) => state === 'cancelled' && attempts === 0),
      change
    )
  }
})

t.test('a secret that this key does not open stops its receiver alone, and is told', async t => {
  const { addReceiver, addDeliveries, deliveries, send, errors } = await startOutbox(t)
  const [one, other] = [await startWebhookReceiver(t), await startWebhookReceiver(t)]
  await addDeliveries(await addReceiver(one.url, { sealing: new Sealing(randomBytes(32)) }))
  await addDeliveries(await addReceiver(other.url))
  await send()
  t.equal(one.received.length, 0)
  t.equal(other.received.length, 1)
  t.match(String(errors[0]), /KEY_ENCRYPTION_KEY/)
  t.same((await deliveries()).map(({ state }) => state).sort(), ['delivered', 'pending'])
})

t.test('a receiver of the configuration that an instance does not have is left to one that does', async t => {
  const { clock, databaseUrl, needs, addDeliveries, deliveries, send } = await startOutbox(t)
  const receiver = await startWebhookReceiver(t)
  await addDeliveries(null)
  await send()
  t.match(await deliveries(), [{ state: 'pending', attempts: 0 }])
  const serviceReceiver = { target: { url: receiver.url }, secrets: [createSigningSecret()] }
  const having = new Outbox({ ...needs(), serviceReceivers: new Map([['webhook', serviceReceiver]]) })
  await having.pump()
  await having.idle()
  t.match(await deliveries(), [{ state: 'delivered', attempts: 1 }])
  t.match(receiver.received[0]?.event.data, { site: 'acme', name: 'a service' })
  t.ok(clock.time > 0 && databaseUrl !== '')
})

t.test('closing gives back what is under way, and another instance sends it at once', async t => {
  const { addReceiver, addDeliveries, deliveries, outboxes, needs } = await startOutbox(t)
  let isSilent = true
  const receiver = await startWebhookReceiver(t, response => {
    if (!isSilent) response.writeHead(204).end()
  })
  await addDeliveries(await addReceiver(receiver.url))
  await outboxes[0]?.pump()
  await until('it is under way', () => receiver.received.length === 1)
  const started = performance.now()
  await outboxes[0]?.close()
  t.ok(performance.now() - started < 3_000)
  await outboxes[0]?.pump()
  isSilent = false
  t.match(await deliveries(), [{ state: 'pending' }])
  const other = new Outbox(needs())
  await other.pump()
  await other.idle()
  t.match(await deliveries(), [{ state: 'delivered' }])
})

t.test('an outcome that comes late does not undo that of a later try', async t => {
  const { clock, addReceiver, addDeliveries, deliveries, needs } = await startOutbox(t)
  const held = Promise.withResolvers<void>()
  const receiver = await startWebhookReceiver(t, async response => {
    const isFirst = receiver.received.length === 1
    if (isFirst) await held.promise
    response.writeHead(isFirst ? 500 : 204).end()
  })
  await addDeliveries(await addReceiver(receiver.url))
  const [slow, quick] = [new Outbox(needs()), new Outbox(needs())]
  await slow.pump()
  await until('it is under way', () => receiver.received.length === 1)
  clock.advance(60_000)
  await quick.pump()
  await quick.idle()
  held.resolve()
  await slow.idle()
  await sleep(0)
  t.match(await deliveries(), [{ state: 'delivered', attempts: 2 }])
})
