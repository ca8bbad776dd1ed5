import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import t from 'tap'
import { createDatabase, withClient } from '../../fixtures/app/database.ts'
import type { Grantd } from '../../fixtures/app/grantd.ts'
import { inDays } from '../../fixtures/app/registration.ts'
import { startCluster } from '../../fixtures/faults/cluster.ts'
import { type Client, countStatuses, slowest, Traffic } from '../../fixtures/faults/traffic.ts'
import { startInstance, unrecorded, warmClients } from '../../fixtures/run/instance.ts'
import { until } from '../../fixtures/run/until.ts'

/** The pool lets a request wait a second for a connection. The rest is for a busy machine. */
const SHED_WITHIN_MS = 1_500
/** The default of DATABASE_POOL_SIZE. */
const POOL_SIZE = 10
const WRITES = 25
/** A write that holds a connection waits for its lock until statement_timeout, which is below 5 s. */
const ANSWERED_WITHIN_MS = 5_500

// [FAULT-13]
t.test(
  'writers that wait for a lock exhaust the pool: tokens are issued, and other requests get 503 within 1.5 s',
  async t => {
    const databaseUrl = await createDatabase(t)
    const { grantd } = await startInstance(t, databaseUrl, { LOG_LEVEL: 'fatal' })
    const clients = await warmClients(15, grantd)
    // Each in a Site of its own, so that no write waits for another's audit chain. A change needs no hash.
    const paths: string[] = []
    for (let write = 0; write < WRITES; write++) paths.push((await grantd.register({}, `site-${write}`)).path)
    await withClient(databaseUrl, async client => {
      await client.query('begin; lock table audit_events in exclusive mode')
      const traffic = exchanging(grantd, clients)
      const sentAt = performance.now()
      const writes = await Promise.all(
        paths.map(path => timed(grantd.asAdmin('PATCH', path, { body: { enabled: false } })))
      )
      const reads = await Promise.all(
        Array.from({ length: 5 }, () => timed(grantd.asAdmin('GET', '/v1/app-registrations')))
      )
      await traffic.stop()
      const tookMs = performance.now() - sentAt
      await client.query('rollback')
      t.same(traffic.failures, [])
      t.same([...new Set(writes.map(({ status }) => status))], [503])
      const shed = writes.filter(({ ms }) => ms < SHED_WITHIN_MS)
      t.ok(shed.length >= WRITES - POOL_SIZE, `${shed.length} of ${WRITES} were refused within ${SHED_WITHIN_MS} ms`)
      t.ok(slowestOf(writes) < ANSWERED_WITHIN_MS, `the slowest write took ${slowestOf(writes)} ms`)
      t.ok(slowestOf(reads) < SHED_WITHIN_MS, `the slowest read took ${slowestOf(reads)} ms`)
      t.comment(
        `0 of ${traffic.outcomes.length} exchanges in ${Math.round(tookMs)} ms failed, the slowest ${slowest(traffic.outcomes)} ms; ` +
          `${shed.length} of ${WRITES} writes were 503 within ${slowestOf(shed)} ms, the others within ${slowestOf(writes)} ms; ` +
          `reads then ${JSON.stringify(countStatuses(reads))}`
      )
    })
    await until('administrators are served again', async () => (await register(grantd)).status === 201)
  }
)

// [FAULT-14]
t.test('all connections of Postgres are taken: tokens are issued, and administrators get 503 within 1.5 s', async t => {
  const cluster = await startCluster(t, ['max_connections=12', 'superuser_reserved_connections=0'])
  const { grantd } = await startInstance(t, cluster.url, { LOG_LEVEL: 'fatal' })
  const clients = await warmClients(15, grantd)
  const taken: pg.Client[] = []
  t.teardown(() => Promise.all(taken.map(client => client.end())))
  await until('all are taken and the pool has none', async () => {
    while (await take(cluster.url, taken));
    await taken[0]?.query("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'grantd'")
    while (await take(cluster.url, taken));
    const answers = await Promise.all(Array.from({ length: 5 }, () => grantd.asAdmin('GET', '/v1/app-registrations')))
    return answers.every(({ status }) => status === 503)
  })
  const traffic = exchanging(grantd, clients)
  await sleep(1_000)
  const refused = await Promise.all(Array.from({ length: 10 }, () => timed(register(grantd))))
  await traffic.stop()
  t.same(traffic.failures, [])
  t.same(countStatuses(refused), { 503: 10 })
  t.ok(slowestOf(refused) < SHED_WITHIN_MS)
  await Promise.all(taken.splice(0).map(client => client.end()))
  await until('administrators are served again', async () => (await register(grantd)).status === 201)
  t.same(await unrecorded(cluster.url, traffic.latest), [])
  t.comment(
    `0 of ${traffic.outcomes.length} exchanges failed, the slowest ${slowest(traffic.outcomes)} ms; ` +
      `administrators were told 503 within ${slowestOf(refused)} ms`
  )
})

function exchanging(grantd: Grantd, clients: readonly Client[]): Traffic {
  return new Traffic([grantd.baseUrl], clients, { connections: 6, perSecond: 60 })
}

function register(grantd: Grantd): Promise<{ status: number }> {
  const expiresAt = inDays(365)
  return grantd.asAdmin('POST', '/v1/sites/acme/app-registrations', { body: { name: 'a service', expiresAt } })
}

interface Timed {
  status: number
  ms: number
  sentAt: number
  baseUrl: string
}

async function timed(answer: Promise<{ status: number }>): Promise<Timed> {
  const sentAt = performance.now()
  const { status } = await answer
  return { status, ms: performance.now() - sentAt, sentAt, baseUrl: '' }
}

function slowestOf(answers: readonly Timed[]): number {
  return slowest(answers)
}

/** @returns whether there was one left to take */
async function take(connectionString: string, taken: pg.Client[]): Promise<boolean> {
  const client = new pg.Client({ connectionString })
  client.on('error', () => {})
  try {
    await client.connect()
    taken.push(client)
    return true
  } catch {
    return false
  }
}
