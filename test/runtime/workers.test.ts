import { once } from 'node:events'
import t, { type Test } from 'tap'
import { createDatabase } from '../fixtures/app/database.ts'
import { send } from '../fixtures/app/grantd.ts'
import { type ServerProcess, spawnServer, temporaryFolder, untilPrinted } from '../fixtures/run/process.ts'
import { until } from '../fixtures/run/until.ts'
import {
  ISSUED,
  isAlive,
  metric,
  startTraffic,
  startWorkers,
  untilWorkersListen,
  workersOf
} from '../fixtures/run/workers.ts'

/** Spawns a server on a database and a data folder of its own. It may not listen yet. */
async function spawnOnOwnData(t: Test, environment: Record<string, string> = {}): Promise<ServerProcess> {
  return spawnServer(t, { DATABASE_URL: await createDatabase(t), DATA_DIR: temporaryFolder(t), ...environment })
}

t.test('all workers issue tokens, and the metrics cover all of them', async t => {
  const instance = await startWorkers(t)
  t.equal(instance.server.output().split('API reference').length, 2, 'the banner is printed once')
  const load = startTraffic(instance, 8)
  await until(
    'each worker has looked a client up',
    async () => (await metric(instance, 'grantd_database_connection_up{connection="lookups"}')) === 2
  )
  await load.stop()
  t.same(tornLines(instance.server), [], 'no process breaks the lines of another')
  t.same(load.failures, [])
  t.equal(await metric(instance, ISSUED), load.count(200))
  t.equal(await metric(instance, 'grantd_exchange_duration_seconds_count'), load.count(200))
  t.equal(await metric(instance, 'grantd_processes'), 3)
  t.equal(await metric(instance, 'grantd_registrations{state="active"}'), 1)
  t.equal((await send('GET', `${instance.metricsUrl}/health/ready`)).status, 200)
})

t.test('on SIGHUP under load every worker is replaced, and no request fails', async t => {
  const instance = await startWorkers(t)
  const load = startTraffic(instance, 8)
  await until('there is load', () => load.count(200) > 100)
  const first = workersOf(instance.server)
  instance.server.child.kill('SIGHUP')
  const readiness = new Set<number>()
  await until(
    'all are replaced',
    async () => {
      readiness.add((await send('GET', `${instance.server.baseUrl}/health/ready`)).status)
      return instance.server.output().includes('all workers are replaced')
    },
    60_000
  )
  t.same([...readiness], [200], 'readiness stays true')
  await load.stop()
  t.same(load.failures, [])
  t.ok(load.count(200) > 500, `${load.count(200)} requests`)
  t.equal(workersOf(instance.server).length, 4)
  for (const pid of first) t.notOk(isAlive(pid))
  t.equal(await metric(instance, ISSUED), load.count(200), 'counters of the replaced workers are kept')
})

t.test('SIGTERM while workers are starting ends the instance with 0, as at any other time', async t => {
  const server = await spawnOnOwnData(t, { WORKERS: '4' })
  await untilPrinted(server, 'a worker is listening')
  const exited = once(server.child, 'exit')
  server.child.kill('SIGTERM')
  t.same(await exited, [0, null])
  t.notMatch(server.output(), 'does not start')
})

t.test('SIGHUP before the workers listen does no harm', async t => {
  const server = await spawnOnOwnData(t, { WORKERS: '2' })
  await untilPrinted(server, 'row-level security does not separate Sites')
  server.child.kill('SIGHUP')
  await untilPrinted(server, 'API reference')
  await untilWorkersListen(server)
})

t.test(
  'on SIGTERM under load no request fails, the instance exits with 0 within 10 s, and no worker is left',
  async t => {
    const instance = await startWorkers(t)
    const load = startTraffic(instance, 8)
    await until('there is load', () => load.count(200) > 100)
    const started = Date.now()
    instance.server.child.kill('SIGTERM')
    await load.stop()
    t.equal(await instance.server.exited, 0)
    t.ok(Date.now() - started < 10_000)
    t.same(load.failures, [])
    for (const pid of workersOf(instance.server)) t.notOk(isAlive(pid))
  }
)

t.test('a fault that all workers have is reported once, with its variable', async t => {
  const first = await startWorkers(t)
  const second = await spawnOnOwnData(t, { WORKERS: '2', PORT: new URL(first.server.baseUrl).port })
  t.equal(await second.exited, 1)
  t.equal(second.output().split('does not start: HOST and PORT:').length, 2, second.output())
  t.notMatch(second.output(), /^ +at /m)
})

t.test('with one worker there is one process, and SIGHUP shuts it down like SIGTERM', async t => {
  const server = await spawnOnOwnData(t)
  await untilPrinted(server, 'API reference')
  t.same(workersOf(server), [])
  server.child.kill('SIGHUP')
  t.equal(await server.exited, 0)
})

/** Returns lines that begin like lines of the log and are not complete. */
function tornLines({ output }: ServerProcess): string[] {
  return output()
    .split('\n')
    .slice(0, -1)
    .filter(line => {
      try {
        return line.startsWith('{') && JSON.parse(line) === undefined
      } catch {
        return true
      }
    })
}
