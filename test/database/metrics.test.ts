import t from 'tap'
import { measurePool } from '../../src/database/metrics.ts'
import { openTables } from '../../src/database/site-scoped-pool.ts'
import { Registry } from '../../src/metrics/registry.ts'
import { createDatabase } from '../fixtures/app/database.ts'
import { readMetric } from '../fixtures/app/metrics.ts'
import { until } from '../fixtures/run/until.ts'

t.test('callers that wait for a connection of the pool, and those rejected, are metrics', async t => {
  const connectionString = await createDatabase(t)
  const tables = openTables({
    connectionString,
    maxConnections: 1,
    waiting: { maxWaiting: 1, maxWaitMs: 60_000 },
    queryTimeoutMs: 60_000,
    onIdleError: () => {}
  })
  t.teardown(() => tables.ofAllSites.destroy())
  const registry = new Registry()
  measurePool(registry, 'administration', tables.connections)
  const load = async () =>
    Promise.all(
      ['in_use', 'waiting', 'rejected_total'].map(
        async name => (await readMetric(registry, `grantd_database_pool_${name}`))?.['{pool="administration"}']
      )
    )
  const ask = () => tables.ofSite('acme').selectFrom('registrations').select('name').execute()
  t.same(await load(), [0, 0, 0])
  const hold = tables.ofAllSites.transaction().execute(async () => {
    const waiting = ask()
    await until('it waits', async () => (await load())[1] === 1)
    await t.rejects(ask(), { name: 'DatabaseUnavailable' })
    t.same(await load(), [1, 1, 1])
    return { waiting }
  })
  await (await hold).waiting
  t.same(await load(), [0, 0, 1])
})
