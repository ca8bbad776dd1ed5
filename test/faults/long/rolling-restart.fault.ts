import t from 'tap'
import { freePort } from '../../fixtures/app/app.ts'
import { createDatabase } from '../../fixtures/app/database.ts'
import { send } from '../../fixtures/app/grantd.ts'
import { leftOutFor } from '../../fixtures/faults/debian.ts'
import { HAPROXY, startHaproxy } from '../../fixtures/faults/haproxy.ts'
import { countStatuses, slowest, Traffic } from '../../fixtures/faults/traffic.ts'
import { startInstance, unrecorded, warmClients } from '../../fixtures/run/instance.ts'
import { temporaryFolder } from '../../fixtures/run/process.ts'
import { until } from '../../fixtures/run/until.ts'

const EXCHANGES = 10_000
const PER_SECOND = 300
const EXIT_WITHIN_MS = 10_000

// [FAULT-1]
t.test(
  'a rolling restart of two instances behind haproxy under load: none of 10,000 exchanges fails, each exits with 0 within 10 s',
  { skip: leftOutFor(HAPROXY) },
  async t => {
    const DATABASE_URL = await createDatabase(t)
    const environment = { DATA_DIR: temporaryFolder(t), LOG_LEVEL: 'error' }
    const instances = [
      await startInstance(t, DATABASE_URL, environment),
      await startInstance(t, DATABASE_URL, environment)
    ]
    const [one, other] = instances.map(({ grantd }) => grantd)
    if (one === undefined || other === undefined) throw new Error('no instances')
    const clients = await warmClients(20, one, other)
    const port = await freePort()
    const servers = instances.map(
      ({ grantd }, index) => `  server grantd${index} ${new URL(grantd.baseUrl).host} check inter 100ms fall 1 rise 2`
    )
    await startHaproxy(
      t,
      `
frontend token
  mode http
  bind 127.0.0.1:${port}
  default_backend grantd
backend grantd
  mode http
  balance roundrobin
  option httpchk GET /health/ready
  option redispatch
${servers.join('\n')}
`
    )
    const baseUrl = `http://127.0.0.1:${port}`
    await until(
      'haproxy serves',
      async () => (await send('GET', `${baseUrl}/health/ready`).catch(() => undefined))?.status === 200
    )

    const traffic = new Traffic([baseUrl], clients, { connections: 16, perSecond: PER_SECOND })
    const exits: { code: number | string; ms: number }[] = []
    for (let restart = 0; traffic.outcomes.length < EXCHANGES || restart < 2; restart++) {
      const instance = instances[restart % instances.length]
      if (instance === undefined) throw new Error('no instance')
      const before = traffic.outcomes.length
      await until('there is load', () => traffic.outcomes.length > before + EXCHANGES / 6, 60_000)
      const signalled = performance.now()
      instance.server.child.kill('SIGTERM')
      exits.push({ code: await instance.server.exited, ms: Math.round(performance.now() - signalled) })
      const PORT = new URL(instance.server.baseUrl).port
      instances[restart % instances.length] = await startInstance(t, DATABASE_URL, { ...environment, PORT })
    }
    await traffic.stop()

    t.same(countStatuses(traffic.outcomes), { 200: traffic.outcomes.length })
    t.ok(traffic.outcomes.length >= EXCHANGES)
    t.same([...new Set(exits.map(({ code }) => code))], [0])
    const slowestExit = Math.max(...exits.map(({ ms }) => ms))
    t.ok(slowestExit < EXIT_WITHIN_MS)
    t.same(await unrecorded(DATABASE_URL, traffic.latest), [])
    t.comment(
      `${exits.length} restarts: 0 of ${traffic.outcomes.length} exchanges failed, the slowest ${slowest(traffic.outcomes)} ms; ` +
        `exit 0 after ${slowestExit} ms at most; 0 Last used lost`
    )
  }
)
