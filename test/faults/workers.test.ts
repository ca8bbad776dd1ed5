import { existsSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import t from 'tap'
import { send } from '../fixtures/app/grantd.ts'
import { startLoad } from '../fixtures/faults/load.ts'
import { spawnServer, temporaryFolder, untilPrinted } from '../fixtures/run/process.ts'
import { until } from '../fixtures/run/until.ts'
import { ISSUED, isAlive, metric, startWorkers, workersOf } from '../fixtures/run/workers.ts'

// [FAULT-4]
t.test('a worker that is killed under load is replaced while the others serve on; no counter goes back', async t => {
  const instance = await startWorkers(t)
  const load = startLoad(instance.baseUrl, instance.credentials, 8)
  await until('there is load', () => (load.outcomes.get(200) ?? 0) > 200)
  const before = await metric(instance, ISSUED)
  const [victim = 0] = workersOf(instance)
  process.kill(victim, 'SIGKILL')
  const served = load.outcomes.get(200) ?? 0
  await until('the other serves on', () => (load.outcomes.get(200) ?? 0) > served + 100)
  t.ok((await metric(instance, ISSUED)) >= before)
  await until('another takes its place', () => workersOf(instance).length === 3, 60_000)
  const failedSoFar = failures(load.outcomes)
  const replaced = load.outcomes.get(200) ?? 0
  await until('they serve', () => (load.outcomes.get(200) ?? 0) > replaced + 200)
  await load.stop()
  t.ok(failures(load.outcomes) <= 8, 'what was on its connections is lost, nothing else')
  t.equal(failures(load.outcomes), failedSoFar)
  t.equal(await metric(instance, 'grantd_processes'), 3)
})

// [FAULT-5]
t.test('whoever connects while a worker is killed is answered or cut off, and each is replaced', async t => {
  const instance = await startWorkers(t)
  const load = startLoad(instance.baseUrl, instance.credentials, 12, false)
  for (const kills of [1, 2, 3]) {
    const served = load.outcomes.get(200) ?? 0
    await until('there is load', () => (load.outcomes.get(200) ?? 0) > served + 200)
    process.kill(workersOf(instance).filter(isAlive)[0] ?? 0, 'SIGKILL')
    await until('another takes its place', () => workersOf(instance).length === 2 + kills, 60_000)
    t.equal((await send('GET', `${instance.metricsUrl}/health/ready`)).status, 200)
  }
  await load.stop()
  t.notOk(load.outcomes.has('no answer'))
  t.same(
    [...load.outcomes.keys()].filter(outcome => outcome !== 200 && outcome !== 'ECONNRESET'),
    []
  )
  t.ok(failures(load.outcomes) <= 3 * 12, `${failures(load.outcomes)} were cut off`)
})

function failures(outcomes: ReadonlyMap<number | string, number>): number {
  return [...outcomes].reduce((sum, [outcome, count]) => (outcome === 200 ? sum : sum + count), 0)
}

t.test('when the primary is killed its workers end, and with them the embedded Postgres', async t => {
  const DATA_DIR = temporaryFolder(t)
  const server = await spawnServer(t, { WORKERS: '2', DATA_DIR })
  await untilPrinted(server, 'API reference')
  await until('both workers have told of themselves', () => workersOf(server).length === 2)
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
  process.kill(workersOf(instance).at(-1) ?? 0, 'SIGKILL')
  t.equal(await instance.exited, 1)
  t.match(instance.output(), /grantd gives up: workers keep ending at once; the last one: .*"kty"/)
  for (const pid of workersOf(instance)) t.notOk(isAlive(pid))
})
