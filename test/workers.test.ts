import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import path from 'node:path'
import t, { type Test } from 'tap'
import { freePort } from './fixtures/app.ts'
import { createDatabase } from './fixtures/database.ts'
import { type Json, send } from './fixtures/grantd.ts'
import { startLoad } from './fixtures/load.ts'
import { type ServerProcess, spawnServer, temporaryFolder, untilPrinted } from './fixtures/process.ts'
import { until } from './fixtures/until.ts'

interface Instance extends ServerProcess {
  credentials: { clientId: string; clientSecret: string }
  metricsUrl: string
}

/** An instance with two workers, and a registration of it. */
async function startWorkers(t: Test, environment: Record<string, string> = {}): Promise<Instance> {
  const METRICS_PORT = String(await freePort())
  const server = await spawnServer(t, {
    WORKERS: '2',
    METRICS_PORT,
    DATABASE_URL: await createDatabase(t),
    DATA_DIR: temporaryFolder(t),
    ...environment
  })
  await untilPrinted(server, 'API reference')
  await until('both workers have told of themselves', () => workersOf(server).length === 2)
  const line = server
    .output()
    .split('\n')
    .find(text => text.startsWith('curl '))
  const credentials: Json = JSON.parse(
    execFileSync('sh', ['-c', line ?? ''], {
      encoding: 'utf8',
      cwd: temporaryFolder(t),
      stdio: ['ignore', 'pipe', 'ignore']
    })
  )
  return { ...server, credentials, metricsUrl: `http://127.0.0.1:${METRICS_PORT}` }
}

/** Process ids of the workers that have ever listened, in their order. */
function workersOf({ output }: ServerProcess): number[] {
  return [...output().matchAll(/"worker":(\d+),"msg":"a worker listens"/g)].map(([, pid]) => Number(pid))
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

async function metric({ metricsUrl }: Instance, series: string): Promise<number> {
  const { text } = await send('GET', `${metricsUrl}/metrics`)
  const line = text.split('\n').find(candidate => candidate.startsWith(`${series} `))
  return Number(line?.slice(series.length))
}

/** Lines that begin as those of the log do and are none. */
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

const ISSUED = 'grantd_token_requests_total{outcome="issued"}'

t.test('all workers exchange, and the metrics are those of all', async t => {
  const instance = await startWorkers(t)
  t.equal(instance.output().split('API reference').length, 2, 'it greets once')
  const load = startLoad(instance.baseUrl, instance.credentials, 8)
  await until(
    'each worker has looked a client up',
    async () => (await metric(instance, 'grantd_database_lanes_up{lane="lookups"}')) === 2
  )
  await load.stop()
  t.same(tornLines(instance), [], 'no process tears the line of another')
  t.same([...load.outcomes.keys()], [200])
  t.equal(await metric(instance, ISSUED), load.outcomes.get(200))
  t.equal(await metric(instance, 'grantd_exchange_duration_seconds_count'), load.outcomes.get(200))
  t.equal(await metric(instance, 'grantd_processes'), 3)
  t.equal(await metric(instance, 'grantd_registrations{state="active"}'), 1)
  t.equal((await send('GET', `${instance.metricsUrl}/health/ready`)).status, 200)
})

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
  await until('another takes its place', () => workersOf(instance).length === 3)
  const failedSoFar = failures(load.outcomes)
  const replaced = load.outcomes.get(200) ?? 0
  await until('they serve', () => (load.outcomes.get(200) ?? 0) > replaced + 200)
  await load.stop()
  t.ok(failures(load.outcomes) <= 8, 'what was on its connections is lost, nothing else')
  t.equal(failures(load.outcomes), failedSoFar)
  t.equal(await metric(instance, 'grantd_processes'), 3)
})

function failures(outcomes: ReadonlyMap<number | string, number>): number {
  return [...outcomes].reduce((sum, [outcome, count]) => (outcome === 200 ? sum : sum + count), 0)
}

t.test('SIGHUP under load replaces every worker, and no request fails', async t => {
  const instance = await startWorkers(t)
  const load = startLoad(instance.baseUrl, instance.credentials, 8)
  await until('there is load', () => (load.outcomes.get(200) ?? 0) > 100)
  const first = workersOf(instance)
  instance.child.kill('SIGHUP')
  const readiness = new Set<number>()
  await until(
    'all are replaced',
    async () => {
      readiness.add((await send('GET', `${instance.baseUrl}/health/ready`)).status)
      return instance.output().includes('all workers are replaced')
    },
    30_000
  )
  t.same([...readiness], [200], 'nobody is sent elsewhere')
  await load.stop()
  t.same([...load.outcomes.keys()], [200])
  t.ok((load.outcomes.get(200) ?? 0) > 1_000, `${load.outcomes.get(200)} requests`)
  t.equal(workersOf(instance).length, 4)
  for (const pid of first) t.notOk(isAlive(pid))
  t.equal(await metric(instance, ISSUED), load.outcomes.get(200), 'what they counted is kept')
})

t.test('SIGTERM under load: no request fails, exit 0 within 10 s, no worker is left', async t => {
  const instance = await startWorkers(t)
  const load = startLoad(instance.baseUrl, instance.credentials, 8)
  await until('there is load', () => (load.outcomes.get(200) ?? 0) > 100)
  const started = Date.now()
  instance.child.kill('SIGTERM')
  await load.stop()
  t.equal(await instance.exited, 0)
  t.ok(Date.now() - started < 10_000)
  t.same([...load.outcomes.keys()], [200])
  for (const pid of workersOf(instance)) t.notOk(isAlive(pid))
})

t.test('when the primary is killed its workers end, and with them the embedded Postgres', async t => {
  const DATA_DIR = temporaryFolder(t)
  const server = await spawnServer(t, { WORKERS: '2', DATA_DIR })
  await untilPrinted(server, 'API reference')
  await until('both workers have told of themselves', () => workersOf(server).length === 2)
  server.child.kill('SIGKILL')
  await until('the workers are gone', () => !workersOf(server).some(isAlive), 2_000)
  await until('Postgres has stopped', () => !existsSync(path.join(DATA_DIR, 'postgres/cluster/postmaster.pid')))
})

t.test('when workers keep dying at once the primary gives up', async t => {
  const instance = await startWorkers(t)
  for (let death = 1; death <= 5; death++) {
    const count = workersOf(instance).length
    process.kill(workersOf(instance).at(-1) ?? 0, 'SIGKILL')
    if (death < 5) await until('another takes its place', () => workersOf(instance).length === count + 1)
  }
  t.equal(await instance.exited, 1)
  t.match(instance.output(), /grantd gives up: workers keep ending at once.*SIGKILL/)
  for (const pid of workersOf(instance)) t.notOk(isAlive(pid))
})

t.test('a fault of the workers is told once, by the variable that is to blame', async t => {
  const first = await startWorkers(t)
  const second = await spawnServer(t, {
    WORKERS: '2',
    PORT: new URL(first.baseUrl).port,
    DATABASE_URL: await createDatabase(t),
    DATA_DIR: temporaryFolder(t)
  })
  t.equal(await second.exited, 1)
  t.equal(second.output().split('does not start: HOST and PORT:').length, 2, second.output())
})

t.test('with one worker there is no other process, and SIGHUP closes as SIGTERM does', async t => {
  const server = await spawnServer(t, { DATABASE_URL: await createDatabase(t), DATA_DIR: temporaryFolder(t) })
  await untilPrinted(server, 'API reference')
  t.same(workersOf(server), [])
  server.child.kill('SIGHUP')
  t.equal(await server.exited, 0)
})
