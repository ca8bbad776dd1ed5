import t from 'tap'
import { closedLoop } from '../../../bench/generator/load.ts'
import { slope } from '../../../bench/statistics.ts'
import { heapBytes, INSPECTED } from '../../attacks/heap.ts'
import { createDatabase, query } from '../../fixtures/app/database.ts'
import { requestBytes } from '../../fixtures/app/raw-http.ts'
import { startInstance, warmClients } from '../../fixtures/run/instance.ts'

const EXCHANGES = 1_000_000
const CLIENTS = 200
const SAMPLES = 20
/** Code is compiled and caches fill at the start, so the slope leaves this share out. */
const WARM_SHARE = 0.25
const MIB = 1_048_576
/** Far below 1 MiB in an hour at any rate that one process can serve. */
const MAX_MIB_PER_MILLION = 1
/** Pages that updates in place leave behind until autovacuum comes. */
const MAX_TABLE_MIB_PER_MILLION = 1
const FORM = { 'Content-Type': 'application/x-www-form-urlencoded' }

interface Sample {
  exchanges: number
  heapMiB: number
  tableMiB: number
  rows: number
}

// [FAULT-28]
t.test('1,000,000 exchanges: the heap does not grow, and no table grows with them', { timeout: 3_000_000 }, async t => {
  const databaseUrl = await createDatabase(t)
  const { grantd, server } = await startInstance(t, databaseUrl, { LOG_LEVEL: 'error', ...INSPECTED })
  const clients = await warmClients(CLIENTS, grantd)
  const requests = clients.map(({ clientId, clientSecret }) =>
    requestBytes(
      '/oauth/token',
      FORM,
      Buffer.from(`grant_type=client_credentials&client_id=${clientId}&client_secret=${clientSecret}`)
    )
  )
  const port = Number(new URL(grantd.baseUrl).port)
  const samples: Sample[] = []
  let exchanges = 0
  let failures = 0
  while (exchanges < EXCHANGES) {
    const load = await closedLoop([port], requests, { connections: 32, seconds: 5 })
    exchanges += load.answers
    failures += load.failures
    if (exchanges < (samples.length * EXCHANGES) / SAMPLES) continue
    samples.push({ exchanges, heapMiB: (await heapBytes(server)) / MIB, ...(await sizesOf(databaseUrl)) })
  }
  const steady = samples.slice(Math.floor(samples.length * WARM_SHARE))
  const perMillion = (read: (sample: Sample) => number) =>
    slope(steady.map(sample => ({ x: sample.exchanges, y: read(sample) }))) * 1_000_000
  const heap = perMillion(({ heapMiB }) => heapMiB)
  const tables = perMillion(({ tableMiB }) => tableMiB)
  t.equal(failures, 0)
  t.ok(heap <= MAX_MIB_PER_MILLION, `the heap grew by ${heap.toFixed(2)} MiB per million exchanges`)
  t.ok(tables <= MAX_TABLE_MIB_PER_MILLION, `the tables grew by ${tables.toFixed(2)} MiB per million exchanges`)
  t.equal(steady.at(-1)?.rows, steady[0]?.rows, 'no row is added')
  t.comment(
    `${exchanges} exchanges: heap ${heap.toFixed(2)} MiB and tables ${tables.toFixed(2)} MiB per million; ` +
      `heap ${steady.at(-1)?.heapMiB.toFixed(1)} MiB, tables ${steady.at(-1)?.tableMiB.toFixed(1)} MiB at the end`
  )
})

async function sizesOf(databaseUrl: string): Promise<{ tableMiB: number; rows: number }> {
  const [sizes] = (
    await query(
      databaseUrl,
      `select coalesce(sum(pg_total_relation_size(relid)), 0)::float8 as bytes, (
         select count(*)::int from registrations
       ) + (select count(*)::int from registration_last_used) + (select count(*)::int from audit_events) as rows
       from pg_stat_user_tables`
    )
  ).map(Object)
  return { tableMiB: sizes.bytes / MIB, rows: sizes.rows }
}
