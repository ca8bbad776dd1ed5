import { existsSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import t from 'tap'
import { send } from '../fixtures/app/grantd.ts'
import { spawnServer, temporaryFolder, untilPrinted } from '../fixtures/run/process.ts'
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

// [FAULT-4]
t.test('a worker that is killed under load is replaced while the others serve, and no counter decreases', async t => {
  const instance = await startWorkers(t)
  const load = startTraffic(instance, 8)
  await until('there is load', () => load.count(200) > 200)
  const before = await metric(instance, ISSUED)
  const [victim = 0] = workersOf(instance.server)
  process.kill(victim, 'SIGKILL')
  const served = load.count(200)
  await until('the other serves on', () => load.count(200) > served + 100)
  t.ok((await metric(instance, ISSUED)) >= before)
  await until('another takes its place', () => workersOf(instance.server).length === 3, 60_000)
  const failedSoFar = load.failures.length
  const replaced = load.count(200)
  await until('they serve', () => load.count(200) > replaced + 200)
  await load.stop()
  t.ok(load.failures.length <= 8, 'what was on its connections is lost, nothing else')
  t.equal(load.failures.length, failedSoFar)
  t.equal(await metric(instance, 'grantd_processes'), 3)
})

// [FAULT-5]
t.test('callers that connect while a worker is killed get an answer or a closed connection, never a hang', async t => {
  const instance = await startWorkers(t)
  const load = startTraffic(instance, 12, false)
  await until('there is load', () => load.count(200) > 200)
  process.kill(workersOf(instance.server).filter(isAlive)[0] ?? 0, 'SIGKILL')
  await until('another takes its place', () => workersOf(instance.server).length === 3, 60_000)
  t.equal((await send('GET', `${instance.metricsUrl}/health/ready`)).status, 200)
  await load.stop()
  t.same(
    load.failures.filter(({ status }) => status !== 'ECONNRESET'),
    [],
    'no caller is left without an answer or a closed connection'
  )
  t.ok(load.failures.length <= 12, `${load.failures.length} were cut off`)
})

t.test('when the primary is killed its workers end, and with them the embedded Postgres', async t => {
  const DATA_DIR = temporaryFolder(t)
  const server = await spawnServer(t, { WORKERS: '2', DATA_DIR })
  await untilPrinted(server, 'API reference')
  await untilWorkersListen(server)
  const killed = performance.now()
  server.child.kill('SIGKILL')
  await until('the workers are gone', () => !workersOf(server).some(isAlive))
  t.comment(`workers were gone after ${Math.round(performance.now() - killed)} ms`)
  await until('Postgres has stopped', () => !existsSync(path.join(DATA_DIR, 'postgres/cluster/postmaster.pid')))
})

t.test('when new workers keep dying at once the primary gives up, and says why', async t => {
  const DATA_DIR = temporaryFolder(t)
  const instance = await startWorkers(t, { DATA_DIR })
  writeFileSync(path.join(DATA_DIR, 'development-admin-key.json'), '{}')
  process.kill(workersOf(instance.server).at(-1) ?? 0, 'SIGKILL')
  t.equal(await instance.server.exited, 1)
  t.match(instance.server.output(), /grantd gives up: workers keep failing to start. The last fault: .*"kty"/)
  for (const pid of workersOf(instance.server)) t.notOk(isAlive(pid))
})
