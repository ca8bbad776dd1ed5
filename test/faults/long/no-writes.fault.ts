import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { withClient } from '../../fixtures/app/database.ts'
import { COLLECTION, inDays } from '../../fixtures/app/registration.ts'
import { startCluster } from '../../fixtures/faults/cluster.ts'
import { countStatuses, Registering, slowest, Traffic } from '../../fixtures/faults/traffic.ts'
import { startInstance, unrecorded, warmClients } from '../../fixtures/run/instance.ts'
import { until } from '../../fixtures/run/until.ts'

const ANOTHER = { name: 'another', expiresAt: inDays(365) }

// [FAULT-17]
t.test(
  'a read-only database: tokens are issued, also to cold clients, and other requests get 503. Last used is written later',
  async t => {
    const cluster = await startCluster(t)
    const { grantd } = await startInstance(t, cluster.url, { LOG_LEVEL: 'fatal' })
    const clients = await warmClients(15, grantd)
    const cold = await grantd.register()
    const setReadOnly = (value: 'on' | 'off') =>
      withClient(cluster.url, async client => {
        await client.query('set default_transaction_read_only = off')
        await client.query(`alter system set default_transaction_read_only = ${value}`)
        await client.query('select pg_reload_conf()')
      })
    await setReadOnly('on')
    await until(
      'it is read-only',
      async () => (await grantd.asAdmin('POST', COLLECTION, { body: ANOTHER })).status === 503
    )
    const traffic = new Traffic([grantd.baseUrl], clients, { connections: 6, perSecond: 60 })
    const registering = new Registering([grantd], 50)
    t.equal((await grantd.exchange(cold)).status, 200)
    await sleep(2_000)
    t.equal((await grantd.asAdmin('GET', '/v1/app-registrations')).status, 200, 'what only reads is answered')
    await registering.stop()
    const due = await unrecorded(cluster.url, traffic.latest)
    await setReadOnly('off')
    await until('all uses are written', async () => (await unrecorded(cluster.url, traffic.latest)).length === 0)
    await until('administrators write', async () => (await grantd.asAdmin('DELETE', cold.path)).status === 204)
    await traffic.stop()

    t.same(traffic.failures, [])
    t.same(Object.keys(countStatuses(registering.outcomes)), ['503'])
    t.ok(due.length > 0)
    t.comment(
      `0 of ${traffic.outcomes.length} exchanges failed, the slowest ${slowest(traffic.outcomes)} ms; ` +
        `${registering.outcomes.length} writes of administrators 503; Last used of ${due.length} clients written later, 0 lost`
    )
  }
)
