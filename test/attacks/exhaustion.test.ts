import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { promisify } from 'node:util'
import t from 'tap'
import { startApp } from '../fixtures/app/app.ts'
import { createDatabase } from '../fixtures/app/database.ts'
import { send } from '../fixtures/app/grantd.ts'
import { requestBytes } from '../fixtures/app/raw-http.ts'
import { spawnServer, temporaryFolder, untilReady } from '../fixtures/run/process.ts'
import { until } from '../fixtures/run/until.ts'
import { heapBytes, INSPECTED } from './heap.ts'
import { OPERATIONS } from './operations.ts'

const FORM = { 'Content-Type': 'application/x-www-form-urlencoded' }
const MIB = 1_048_576
const SOCKETS = 20
const PIPELINED = 50

/** Resident memory of a process, bytes. */
async function residentBytes(pid: number | undefined): Promise<number> {
  const { stdout } = await promisify(execFile)('ps', ['-o', 'rss=', '-p', String(pid)])
  return Number(stdout) * 1_024
}

function tokenRequest(clientId: string, clientSecret: string): Buffer {
  const form = new URLSearchParams({
    grant_type: 'client_credentials',
    client_id: clientId,
    client_secret: clientSecret
  })
  return requestBytes('/oauth/token', FORM, Buffer.from(form.toString()))
}

/** Sends so many requests down a few connections, many at once on each. @returns how often each status came back */
async function flood(
  baseUrl: string,
  count: number,
  request: (index: number) => Buffer
): Promise<Record<string, number>> {
  const { hostname, port } = new URL(baseUrl)
  const statuses: Record<string, number> = {}
  let next = 0
  const work = async (): Promise<void> => {
    const socket = connect(Number(port), hostname)
    while (next < count) {
      const size = Math.min(PIPELINED, count - next)
      const batch = Array.from({ length: size }, () => request(next++))
      socket.write(Buffer.concat(batch))
      for (const status of await readStatuses(socket, size)) statuses[status] = (statuses[status] ?? 0) + 1
    }
    socket.destroy()
  }
  await Promise.all(Array.from({ length: SOCKETS }, work))
  return statuses
}

async function readStatuses(socket: Socket, count: number): Promise<string[]> {
  let received = ''
  for (;;) {
    const statuses = [...received.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map(([, status = '']) => status)
    if (statuses.length >= count && received.endsWith('}')) return statuses
    const [chunk] = await once(socket, 'data')
    received += chunk.toString('latin1')
  }
}

// [LOAD-2]
t.test('100,000 distinct unknown client ids leave memory bounded, and the endpoint serving', async t => {
  const server = await spawnServer(t, {
    DATA_DIR: temporaryFolder(t),
    DATABASE_URL: await createDatabase(t),
    LOG_LEVEL: 'warn',
    ...INSPECTED
  })
  await untilReady(server)
  const unknown = (index: number) => tokenRequest(String(index).padStart(20, '0'), 'not-a-secret')
  const start = await heapBytes(server)
  t.same(await flood(server.baseUrl, 100_000, unknown), { 401: 100_000 })
  const full = await heapBytes(server)
  const resident = await residentBytes(server.child.pid)
  const figures = [start, full, resident].map(bytes => Math.round(bytes / MIB)).join(', ')
  t.comment(`heap at first, after 100,000, and resident: ${figures} MiB`)
  // That it ends there, test/oauth/token/cache/failure-brake.test.ts shows with more of them than a service is sent in a minute.
  t.ok(full - start < 40 * MIB, `a place per failure: ${figures}`)
  t.ok(resident < 512 * MIB, figures)
  t.equal((await send('GET', `${server.baseUrl}/health/ready`)).status, 200)
})

// [LOAD-4]
t.test("failures from 1,000 other sources on a client's id never lock it out, cold or warm", async t => {
  const environment = { TOKEN_FAILURE_LIMIT: '1', TRUSTED_PROXIES: '127.0.0.1' }
  const grantd = await startApp(t, { environment })
  const [cold, warm] = [await grantd.register(), await grantd.register()]
  t.equal((await grantd.exchange(warm)).status, 200)
  for (const { clientId } of [cold, warm]) {
    const body = Buffer.from(tokenRequest(clientId, 'not-a-secret').toString().split('\r\n\r\n')[1] ?? '')
    const statuses = await flood(grantd.baseUrl, 2_000, index =>
      requestBytes('/oauth/token', { ...FORM, 'X-Forwarded-For': `10.0.${index % 4}.${Math.floor(index / 8)}` }, body)
    )
    t.same(Object.keys(statuses).sort(), ['401', '429'])
  }
  const victim = { 'x-forwarded-for': '192.0.2.1' }
  for (const { clientId, clientSecret } of [cold, warm]) {
    const answer = await grantd.requestToken({ client_id: clientId, client_secret: clientSecret }, victim)
    t.equal(answer.status, 200)
  }
})

const DEEP = {
  '8,000 arrays': '['.repeat(8_000) + ']'.repeat(8_000),
  '2,000 objects': `${'{"a":'.repeat(2_000)}1${'}'.repeat(2_000)}`,
  '8,000 arrays that are never closed': '['.repeat(8_000)
}
/** The limit of reports of leaked secrets, bytes. Every other operation has a smaller one. */
const LONGEST_BODY = 64 * 1_024
const TEN_GIB = String(10 * 1_024 ** 3)

// [LOAD-5]
t.test(
  'deeply nested JSON is 400, and bodies that are too long or declare 10 GiB are 413, at every operation',
  async t => {
    const grantd = await startApp(t)
    const authorization = `Bearer ${await grantd.adminToken(['*'])}`
    const withBody = OPERATIONS.filter(({ method }) => method === 'POST' || method === 'PATCH' || method === 'PUT')
    for (const operation of withBody) {
      const { clientId, clientSecret } = await grantd.register()
      const { path, headers: ofRequest } = await operation.request({ siteId: 'acme', clientId, clientSecret }, grantd)
      const type = ofRequest['content-type'] ?? 'application/json'
      const headers = { authorization, 'content-type': type }
      const send = (body: string) => grantd.send(operation.method, path, { headers, body })
      // Nesting means nothing in a form: it is one parameter without a value. Where only credentials are required, they miss.
      const refused = ['rotateOwnSecret', 'introspectToken', 'revokeToken'].includes(operation.id) ? 401 : 400
      for (const [name, body] of Object.entries(DEEP))
        t.equal((await send(body)).status, refused, `${operation.id}: ${name}`)
      t.equal((await send('['.repeat(LONGEST_BODY + 1))).status, 413, `${operation.id}: too long`)
      const declared = { ...headers, 'content-length': TEN_GIB }
      t.equal(await statusOfHead(grantd.baseUrl, operation.method, path, declared), 413, `${operation.id}: 10 GiB`)
    }
    t.equal((await grantd.asAdmin('GET', '/v1/app-registrations')).status, 200)
  }
)

/** Returns JSON of so many items or members. */
const list = (count: number, item: (index: number) => string) => Array.from({ length: count }, (_, i) => item(i)).join()
const MEMBERS = list(1_300, index => `"m${index}":1`)
/** Under 16 KiB, so that every operation reads them. */
const MANY_FAULTS = {
  'items of another type': `{"secrets":[${list(7_000, () => '1')}],"scopes":[]}`,
  'empty objects': `{"secrets":[${list(5_000, () => '{}')}]}`,
  nulls: `{"scopes":[${list(3_000, () => 'null')}]}`,
  'unknown members': `{${MEMBERS}}`,
  'one item with unknown members': `{"secrets":[{${MEMBERS}}]}`,
  'members that are given twice': `{${list(2_000, () => '"m":1')}}`
}

// [LOAD-26]
t.test('of a body or query with thousands of faults, no operation looks for more than one', async t => {
  const grantd = await startApp(t)
  const authorization = `Bearer ${await grantd.adminToken(['*'])}`
  for (const operation of OPERATIONS) {
    const { clientId, clientSecret } = await grantd.register()
    const {
      path,
      headers: ofRequest,
      body
    } = await operation.request({ siteId: 'acme', clientId, clientSecret }, grantd)
    const headers = { authorization, ...ofRequest }
    const type = ofRequest['content-type'] ?? 'application/json'
    if (operation.method !== 'GET' && operation.method !== 'DELETE' && type === 'application/json') {
      for (const [name, text] of Object.entries(MANY_FAULTS)) {
        const json = { ...headers, 'content-type': type }
        const answer = await grantd.send(operation.method, path, { headers: json, body: text })
        const { errors } = answer.json()
        t.match(errors, [{ pointer: '', code: 'too_many_values' }], `${operation.id}: ${name}`)
        t.equal(errors.length, 1, `${operation.id}: ${name}`)
      }
    }
    if (!path.startsWith('/v1/')) continue
    const query = Array.from({ length: 4_000 }, (_, index) => `p${index}`).join('&')
    const answer = await grantd.send(operation.method, `${path}${path.includes('?') ? '&' : '?'}${query}`, {
      headers,
      body
    })
    t.match(answer.json(), { status: 400, detail: 'The query has more than 100 parameters.' }, operation.id)
  }
})

/** Sends the head of a request and nothing of the body that it declares. */
async function statusOfHead(
  baseUrl: string,
  method: string,
  path: string,
  headers: Record<string, string>
): Promise<number> {
  const { hostname, port } = new URL(baseUrl)
  const socket = connect(Number(port), hostname)
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`)
  socket.write(`${method} ${path} HTTP/1.1\r\nHost: grantd\r\n${lines.join('')}\r\n`)
  const [head] = await once(socket, 'data', { signal: AbortSignal.timeout(10_000) })
  socket.destroy()
  return Number(String(head).slice(9, 12))
}

// [LOAD-9]
t.test(
  'beyond MAX_CONNECTIONS a connection is closed; those that are open are served, and places come free',
  async t => {
    const grantd = await startApp(t, { environment: { MAX_CONNECTIONS: '20', TRUSTED_PROXIES: '127.0.0.1' } })
    const { hostname, port } = new URL(grantd.baseUrl)
    const open = async (): Promise<Socket> => {
      const socket = connect(Number(port), hostname)
      socket.on('error', () => {})
      await once(socket, 'connect')
      return socket
    }
    const held = await Promise.all(Array.from({ length: 20 }, open))
    t.teardown(() => {
      for (const socket of held) socket.destroy()
    })
    const refused = await Promise.all(Array.from({ length: 30 }, open))
    await until('they are closed', () => refused.every(socket => socket.closed || socket.readableEnded))
    t.ok(held.every(socket => !socket.readableEnded))
    for (const socket of held) socket.write('GET /health/live HTTP/1.1\r\nHost: grantd\r\n\r\n')
    for (const socket of held) t.match(String((await once(socket, 'data'))[0]), /^HTTP\/1\.1 200 /)
    for (const socket of held.splice(0, 2)) socket.destroy()
    await until(
      'a place is free',
      async () => (await send('GET', `${grantd.baseUrl}/health/live`).catch(() => undefined))?.status === 200
    )
  }
)
