import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { openSync } from 'node:fs'
import path from 'node:path'
import t, { type Test } from 'tap'
import { freePort } from '../fixtures/app/app.ts'
import { createDatabase } from '../fixtures/app/database.ts'
import { send } from '../fixtures/app/grantd.ts'
import { exchangeBytes } from '../fixtures/app/raw-http.ts'
import { ROOT } from '../fixtures/run/paths.ts'
import { temporaryFolder, untilReady } from '../fixtures/run/process.ts'
import { until } from '../fixtures/run/until.ts'

/** Requests that are sent at once on one connection. */
const BATCH = 50

interface Server {
  child: ChildProcess
  baseUrl: string
  /** Sends so many health checks, each of which is a line of the log. */
  log: (lines: number) => Promise<void>
  dropped: () => Promise<number>
}

/** Starts a server whose standard output goes there. */
async function startServer(
  t: Test,
  stdout: number | 'pipe',
  environment: Record<string, string> = {}
): Promise<Server> {
  const [port, metricsPort] = [String(await freePort()), String(await freePort())]
  const { PATH = '' } = process.env
  const child = spawn(process.execPath, ['src/commands/start.ts'], {
    cwd: ROOT,
    env: {
      ...{
        PATH,
        PORT: port,
        METRICS_PORT: metricsPort,
        NODE_COMPILE_CACHE: path.join(ROOT, 'node_modules/.cache/compile')
      },
      ...{ DATABASE_URL: await createDatabase(t), DATA_DIR: temporaryFolder(t), ...environment }
    },
    stdio: ['ignore', stdout, 'pipe']
  })
  const exited = once(child, 'exit')
  t.teardown(async () => {
    child.kill('SIGKILL')
    await exited
  })
  let errors = ''
  child.stderr?.on('data', chunk => (errors += chunk))
  const baseUrl = `http://127.0.0.1:${port}`
  await untilReady({ baseUrl, child, output: () => errors, exited: exited.then(([code, signal]) => code ?? signal) })
  return {
    child,
    baseUrl,
    log: async lines => {
      const request = 'GET /health/live HTTP/1.1\r\nHost: grantd\r\n\r\n'.repeat(BATCH)
      for (let sent = 0; sent < lines; sent += BATCH) {
        await exchangeBytes(baseUrl, request, received => received.split('HTTP/1.1 200').length > BATCH)
      }
    },
    dropped: async () => {
      const { text } = await send('GET', `http://127.0.0.1:${metricsPort}/metrics`)
      return Number(/^grantd_log_lines_dropped_total (\d+)$/m.exec(text)?.[1])
    }
  }
}

/** Stops the server. @returns its exit code or signal, and how long that took in milliseconds */
async function stop({ child }: Server): Promise<{ end: unknown; ms: number }> {
  const stoppedAt = performance.now()
  child.kill('SIGTERM')
  const [code, signal] = await once(child, 'exit')
  return { end: code ?? signal, ms: performance.now() - stoppedAt }
}

// [FAULT-30]
t.test('a reader of the log that stops reading neither stops grantd nor its shutdown', async t => {
  for (const environment of [{}, { WORKERS: '2' }]) {
    // Nobody reads the pipe.
    const server = await startServer(t, 'pipe', environment)
    await server.log(2_000)
    t.equal((await send('GET', `${server.baseUrl}/health/ready`)).status, 200)
    t.equal(await server.dropped(), 0, 'a while of it is kept')
    const { end, ms } = await stop(server)
    t.equal(end, 0)
    t.ok(ms < 10_000, `${Math.round(ms)} ms`)
  }
})

t.test('what is kept for a reader is bounded, dropped lines are counted, and it gets whole lines later', async t => {
  const server = await startServer(t, 'pipe')
  while ((await server.dropped()) === 0) await server.log(500)
  let read = ''
  server.child.stdout?.on('data', chunk => (read += chunk))
  await until('the reader has caught up', () => read.split('\n').length > 5_000)
  await server.log(50)
  const { end } = await stop(server)
  t.equal(end, 0)
  const lines = read.split('\n').filter(line => line.startsWith('{'))
  for (const line of lines) JSON.parse(line)
  t.ok(read.length < 2_097_152, `${read.length} bytes were kept`)
})

// [FAULT-31]
t.test('a full disk under the log neither stops grantd nor its shutdown, and dropped lines are counted', async t => {
  const server = await startServer(t, openSync('/dev/full', 'w'))
  await server.log(100)
  t.equal((await send('GET', `${server.baseUrl}/health/ready`)).status, 200)
  await until('they are counted', async () => (await server.dropped()) >= 100)
  const { end, ms } = await stop(server)
  t.equal(end, 0)
  t.ok(ms < 10_000, `${Math.round(ms)} ms`)
})

t.test('a reader of the log that has gone does not end grantd', async t => {
  const server = await startServer(t, 'pipe')
  server.child.stdout?.destroy()
  await server.log(100)
  t.equal((await send('GET', `${server.baseUrl}/health/ready`)).status, 200)
  await until('they are counted', async () => (await server.dropped()) > 0)
  t.equal((await stop(server)).end, 0)
})
