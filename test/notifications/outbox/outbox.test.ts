import { randomBytes, randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { CompiledQuery, Kysely } from 'kysely'
import t, { type Test } from 'tap'
import { Sealing } from '../../../src/crypto/key-encryption.ts'
import type { Database } from '../../../src/database/schema.ts'
import { AddressGuard } from '../../../src/notifications/channels/address-guard.ts'
import { WEBHOOK_TIMEOUT_MS } from '../../../src/notifications/channels/guarded-post.ts'
import { createSigningSecret } from '../../../src/notifications/channels/standard-webhooks.ts'
import { MAX_ATTEMPTS, retryDelayMs } from '../../../src/notifications/outbox/backoff.ts'
import { Outbox, type OutboxOptions } from '../../../src/notifications/outbox/outbox.ts'
import { PLACE_LIMIT_MS } from '../../../src/notifications/outbox/places.ts'
import { claimDeliveries } from '../../../src/notifications/outbox/repository.ts'
import { encryptSigningSecret } from '../../../src/notifications/receivers/signing-secrets.ts'
import { Clock } from '../../fixtures/app/app.ts'
import { asServingRole, createDatabase, openTestDatabase, query } from '../../fixtures/app/database.ts'
import type { Json } from '../../fixtures/app/grantd.ts'
import { DAY_MS } from '../../fixtures/app/registration.ts'
import { insertRegistrationRow } from '../../fixtures/app/registration-row.ts'
import { startWebhookReceiver } from '../../fixtures/peers/webhook-receiver.ts'
import { until } from '../../fixtures/run/until.ts'

const SEALING = new Sealing(randomBytes(32))

interface DeliveryRow {
  receiver_id: string
  state: string
  attempts: number
  due_at: Date
  last_error: string | null
}

const CLAIM = {
  exceptQueues: [],
  slowQueues: [],
  slowLimit: 10,
  limit: 10,
  limitPerQueue: 10,
  limitPerSite: 10,
  underWay: new Map<string, number>()
}

/** Records the raw statements of a database instead of executing them. */
function recordStatements(db: Kysely<Database>): { db: Kysely<Database>; statements: CompiledQuery[] } {
  const statements: CompiledQuery[] = []
  const intercept = <T extends object>(object: T, name: string, replacement: (...given: never[]) => unknown): T =>
    new Proxy(object, {
      get: (target, member) => {
        const own = Reflect.get(target, member, target)
        if (member === name) return replacement
        return typeof own === 'function' ? own.bind(target) : own
      }
    })
  const executeQuery = async (compiled: CompiledQuery) => {
    statements.push(compiled)
    return { rows: [] }
  }
  const executor = intercept(db.getExecutor(), 'executeQuery', executeQuery)
  return { db: intercept(db, 'getExecutor', () => executor), statements }
}

/** The scans of tables in a plan. */
function scansOf(node: Json): Json[] {
  return [
    ...(/Scan$/.test(node['Node Type']) && node['Relation Name'] !== undefined ? [node] : []),
    ...(node.Plans ?? []).flatMap(scansOf)
  ]
}

/** Starts the outboxes of some instances, for deliveries of one registration. */
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
      mail: undefined
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

t.test('any number of instances deliver everything that is due, each once', async t => {
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
  const { addReceiver, addDeliveries, deliveries, outboxes } = await startOutbox(t)
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
  await outboxes[0]?.pump()
  await until('the good one has all', () => good.received.length === 40, WEBHOOK_TIMEOUT_MS - 1_000)
  t.equal(silent.aborted, 0, 'before the first try of the silent one was given up')
  t.ok(silent.received.length <= 2, `${silent.received.length} at once to one receiver`)
  await until('they are written', async () =>
    (await deliveries()).filter(({ receiver_id }) => receiver_id === goodId).every(({ state }) => state === 'delivered')
  )
  await outboxes[0]?.close()
})

// [NOTICE-13]
t.test('200 receivers that hang delay no other one, in their own Sites or elsewhere (spec 32)', async t => {
  const { addReceiver, addDeliveries, deliveries, outboxes } = await startOutbox(t)
  const silent = await startWebhookReceiver(t, () => {})
  for (let index = 0; index < 200; index++) {
    const site = `site${index % 10}`
    await addDeliveries(await addReceiver(`${silent.url}/${index}`, { site }), 3)
  }
  // The good ones are the last in the order in which deliveries came due.
  const good = [await startWebhookReceiver(t), await startWebhookReceiver(t)]
  const goodIds = [await addReceiver(good[0]?.url ?? '', { site: 'site0' }), await addReceiver(good[1]?.url ?? '')]
  for (const id of goodIds) await addDeliveries(id, 20)
  const received = () => good.map(({ received }) => received.length)
  await outboxes[0]?.pump()
  await until('both have all', () => received().every(count => count === 20), WEBHOOK_TIMEOUT_MS - 1_000)
  t.equal(silent.aborted, 0, 'before the first try of a silent one was given up')

  // Once they are known to hang, they hold half of the places at most.
  await until('all hang', () => new Set(silent.received.map(({ path }) => path)).size === 200)
  for (const id of goodIds) await addDeliveries(id, 20)
  const [before, started] = [silent.received.length, performance.now()]
  await outboxes[0]?.pump()
  await until('both have all again', () => received().every(count => count === 40), WEBHOOK_TIMEOUT_MS - 1_000)
  const rounds = Math.ceil((performance.now() - started) / PLACE_LIMIT_MS) + 1
  t.ok(silent.received.length - before <= 32 * rounds, `${silent.received.length - before} tries in ${rounds} rounds`)
  await until('they are written', async () =>
    (await deliveries())
      .filter(({ receiver_id }) => goodIds.includes(receiver_id))
      .every(({ state }) => state === 'delivered')
  )
  await outboxes[0]?.close()
})

t.test('a claim reads a few rows of each queue, however many deliveries are pending', async t => {
  const { databaseUrl, needs, addReceiver, addDeliveries } = await startOutbox(t)
  await addDeliveries(await addReceiver('https://hooks.example.com/backlog'), 20_000)
  for (let index = 0; index < 20; index++) await addDeliveries(await addReceiver(`https://hooks.example.com/${index}`))
  await query(databaseUrl, 'analyze')
  const { statements, db } = recordStatements(needs().db)
  await claimDeliveries(db, { ...CLAIM, now: new Date(), leaseUntil: new Date(Date.now() + 60_000) })
  const [statement] = statements
  if (statement === undefined) throw new Error('no statement')
  const [plan] = await query(databaseUrl, `explain (analyze, format json) ${statement.sql}`, [...statement.parameters])
  const scans = scansOf(Object(plan)['QUERY PLAN'][0].Plan).filter(
    scan => scan['Relation Name'] === 'notice_deliveries'
  )
  t.ok(scans.length > 0)
  for (const scan of scans) {
    t.match(scan['Index Name'], /^notice_deliveries_/, scan['Node Type'])
    const rows = (scan['Actual Rows'] + (scan['Rows Removed by Filter'] ?? 0)) * scan['Actual Loops']
    t.ok(rows <= 100, `${rows} rows by ${scan['Index Name']}`)
  }
})

t.test('one Site holds a quarter of the places at most', async t => {
  const { addReceiver, addDeliveries, needs } = await startOutbox(t)
  for (let index = 0; index < 40; index++) await addDeliveries(await addReceiver('https://a.example.com'), 2)
  const one = await addReceiver('https://b.example.com', { site: 'umbrella' })
  await addDeliveries(one, 2)
  const claim = { ...CLAIM, now: new Date(), leaseUntil: new Date(Date.now() + 60_000), limit: 64, limitPerQueue: 2 }
  const claimed = await claimDeliveries(needs().db, { ...claim, limitPerSite: 16, underWay: new Map([['acme', 5]]) })
  t.equal(claimed.filter(({ queue }) => queue === one).length, 2)
  t.equal(claimed.length, 2 + 16 - 5)
})

t.test(
  'a failing receiver is retried with growing delays and the same event id, until the delivery is dead',
  async t => {
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
    for (const [index, wait] of waits.entries()) {
      t.ok(
        wait <= retryDelayMs(index + 1, 0) && wait >= retryDelayMs(index + 1, 1),
        `${wait} ms after try ${index + 1}`
      )
    }
  }
)

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

t.test('a receiver that answers 410 Gone is not tried again (Standard Webhooks)', async t => {
  const { addReceiver, addDeliveries, deliveries, send } = await startOutbox(t)
  const receiver = await startWebhookReceiver(t, response => response.writeHead(410).end())
  await addDeliveries(await addReceiver(receiver.url))
  await send()
  t.match(await deliveries(), [{ state: 'dead', attempts: 1 }])
})

t.test(
  'a delivery that a crashed instance had claimed is tried again when its lease is over, and not before',
  async t => {
    const { clock, databaseUrl, addReceiver, addDeliveries, deliveries, send } = await startOutbox(t)
    const receiver = await startWebhookReceiver(t)
    await addDeliveries(await addReceiver(receiver.url))
    // Another instance takes it, and is heard of no more.
    const claimed = await claimDeliveries(openTestDatabase(t, databaseUrl), {
      ...CLAIM,
      now: new Date(clock.time),
      leaseUntil: new Date(clock.time + 60_000)
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
  }
)

t.test('a delivery is cancelled when its registration was renewed or deleted, or its receiver was deleted', async t => {
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

t.test('a signing secret that cannot be decrypted stops its own receiver only, and is reported', async t => {
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

t.test('an instance leaves a receiver of the configuration that it lacks to an instance that has it', async t => {
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

t.test('closing gives back the deliveries under way, and another instance sends them at once', async t => {
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

t.test('a result that comes late does not overwrite the result of a later try', async t => {
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
