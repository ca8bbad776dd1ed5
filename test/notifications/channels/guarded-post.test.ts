import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { globSync, readFileSync } from 'node:fs'
import { createServer as createTlsServer } from 'node:https'
import { createServer, type Socket } from 'node:net'
import path from 'node:path'
import type { TLSSocket } from 'node:tls'
import t, { type Test } from 'tap'
import { AddressGuard, TargetRefused } from '../../../src/notifications/channels/address-guard.ts'
import {
  ANSWER_LIMIT_BYTES,
  type GuardedPostOptions,
  guardedPost,
  permittedAddresses
} from '../../../src/notifications/channels/guarded-post.ts'
import { portOf, startWebhookReceiver } from '../../fixtures/peers/webhook-receiver.ts'
import { ROOT } from '../../fixtures/run/paths.ts'
import { until } from '../../fixtures/run/until.ts'

const BODY = Buffer.from('{"some":"event"}')
const pem = (part: string) =>
  readFileSync(path.join(ROOT, `test/fixtures/peers/hooks.example.test.${part}.pem`), 'utf8')

function options(allow: string[], more: Partial<GuardedPostOptions> = {}): GuardedPostOptions {
  return {
    guard: new AddressGuard({ items: allow, allowsPlainHttp: true }),
    resolve: async () => [{ address: '127.0.0.1', family: 4 }],
    timeoutMs: 10_000,
    ...more
  }
}

const post = (posting: GuardedPostOptions, url: string, signal = new AbortController().signal) =>
  guardedPost(posting, url, { 'content-type': 'text/plain', 'x-test': 'é'.normalize('NFC') }, BODY, signal)

/** Counts connections; whoever connects hears nothing. */
async function startSilentSocket(t: Test) {
  let connections = 0
  const server = createServer(socket => {
    connections++
    socket.on('error', () => {})
  })
  const { promise, resolve } = Promise.withResolvers<void>()
  server.listen(0, '127.0.0.1', resolve)
  await promise
  t.teardown(() => server.close())
  return { port: portOf(server.address()), connections: () => connections }
}

t.test('a POST arrives as it was sent, and every status is returned', async t => {
  const receiver = await startWebhookReceiver(t)
  for (const status of [200, 204, 400, 404, 410, 429, 500, 503]) {
    receiver.answer = response => response.writeHead(status).end('an answer')
    t.equal(await post(options(['127.0.0.1']), receiver.url), status)
  }
  t.equal(receiver.received[0]?.body, BODY.toString())
  t.match(receiver.received[0]?.headers, { 'content-type': 'text/plain', 'content-length': String(BODY.length) })
})

t.test('a connect that fails at once is an error of the request, and does not end the process', async t => {
  const uncaught: unknown[] = []
  const onUncaught = (error: unknown) => uncaught.push(error)
  process.on('uncaughtException', onUncaught)
  t.teardown(() => process.off('uncaughtException', onUncaught))
  // The kernel refuses a connect to the broadcast address in the same system call, on every machine.
  const resolve = async () => [{ address: '255.255.255.255', family: 4 }]
  const posting = options(['hooks.example.test', '255.255.255.255'], { resolve })
  await t.rejects(post(posting, 'https://hooks.example.test/hook'), { code: /^(ENETUNREACH|EACCES|EHOSTUNREACH)$/ })
  await new Promise(setImmediate)
  t.strictSame(uncaught, [])
})

// [NOTICE-4]
t.test('a redirect is not followed', async t => {
  const other = await startWebhookReceiver(t)
  const receiver = await startWebhookReceiver(t)
  for (const status of [301, 302, 303, 307, 308]) {
    receiver.answer = response => response.writeHead(status, { location: other.url }).end()
    t.equal(await post(options(['127.0.0.1']), receiver.url), status)
  }
  t.equal(other.received.length, 0)
})

// [NOTICE-2]
t.test('an address that is not allowed is never connected to, by address or by name', async t => {
  const socket = await startSilentSocket(t)
  for (const url of [
    `https://127.0.0.1:${socket.port}/`,
    `https://2130706433:${socket.port}/`,
    `https://[::ffff:127.0.0.1]:${socket.port}/`,
    `https://localhost:${socket.port}/`,
    `https://hooks.example.test:${socket.port}/`,
    `http://127.0.0.1:${socket.port}/`
  ]) {
    await t.rejects(post(options([]), url), TargetRefused, url)
  }
  t.equal(socket.connections(), 0)
})

t.test('plain http goes to loopback addresses only, also for a host that is allow-listed', async t => {
  const resolve = async () => [{ address: '10.0.0.1', family: 4 }]
  await t.rejects(post(options(['localhost'], { resolve }), 'http://localhost/'), TargetRefused)
})

// [NOTICE-3]
t.test('the addresses of a host are checked again with every request (DNS rebinding)', async t => {
  const socket = await startSilentSocket(t)
  const answers = ['8.8.8.8', '127.0.0.1']
  const posting = options([], { resolve: async () => [{ address: answers.shift() ?? '', family: 4 }] })
  const url = `https://hooks.example.test:${socket.port}/`
  await permittedAddresses(posting, new URL(url))
  await t.rejects(post(posting, url), TargetRefused)
  t.equal(socket.connections(), 0)
})

t.test('a host with public and private addresses is refused', async t => {
  const addresses = [
    { address: '8.8.8.8', family: 4 },
    { address: '127.0.0.1', family: 4 }
  ]
  for (const order of [addresses, addresses.toReversed(), []]) {
    await t.rejects(post(options([], { resolve: async () => order }), 'https://hooks.example.test/'), TargetRefused)
  }
})

// [NOTICE-12]
t.test('the address that was checked is the one connected to; Host and certificate stay those of the URL', async t => {
  const seen: unknown[] = []
  const server = createTlsServer({ key: pem('key'), cert: pem('crt') }, (request, response) => {
    const socket = request.socket as TLSSocket
    seen.push([request.headers.host, Reflect.get(socket, 'servername')])
    response.end()
  })
  const { promise, resolve } = Promise.withResolvers<void>()
  server.listen(0, '127.0.0.1', resolve)
  await promise
  t.teardown(() => server.close())
  const { port } = new URL(`https://x:${portOf(server.address())}`)
  let asked = 0
  const posting = options(['127.0.0.1'], {
    ca: pem('crt'),
    // No name server knows it, and the second answer would be another one.
    resolve: async () => [{ address: asked++ === 0 ? '127.0.0.1' : '127.9.9.9', family: 4 }]
  })
  t.equal(await post(posting, `https://hooks.example.test:${port}/`), 200)
  t.same(seen, [[`hooks.example.test:${port}`, 'hooks.example.test']])
  t.equal(asked, 1, 'resolved once')
  const other = options(['127.0.0.1'], { ca: pem('crt') })
  await t.rejects(post(other, `https://other.example.test:${port}/`), { code: 'ERR_TLS_CERT_ALTNAME_INVALID' })
  await t.rejects(post(options(['127.0.0.1']), `https://hooks.example.test:${port}/`), {
    code: 'DEPTH_ZERO_SELF_SIGNED_CERT'
  })
})

// [NOTICE-5]
t.test('an answer without end is cut off after 64 KiB, and its status counts', async t => {
  const receiver = await startWebhookReceiver(t, response => {
    const chunk = Buffer.alloc(16_384)
    const write = () => {
      while (!response.destroyed && response.write(chunk));
    }
    response.on('drain', write)
    response.writeHead(200)
    write()
  })
  const sockets: Socket[] = []
  const onSocket = (message: unknown) => sockets.push(Object(message).socket)
  subscribe('net.client.socket', onSocket)
  t.teardown(() => unsubscribe('net.client.socket', onSocket))
  t.equal(await post(options(['127.0.0.1']), receiver.url), 200)
  const [socket] = sockets
  await until('the connection is cut', () => socket?.destroyed === true)
  // A read of the kernel brings up to 64 KiB, so one may be on its way when the limit is reached.
  t.ok((socket?.bytesRead ?? 0) > ANSWER_LIMIT_BYTES, `${socket?.bytesRead} bytes were read`)
  t.ok((socket?.bytesRead ?? 0) <= 4 * ANSWER_LIMIT_BYTES, `${socket?.bytesRead} bytes were read`)
})

t.test('a slow name server, connection or answer is cut off at the time limit', async t => {
  const silent = await startSilentSocket(t)
  const slow = { timeoutMs: 200 }
  await t.rejects(post(options(['127.0.0.1'], slow), `http://127.0.0.1:${silent.port}/`), { name: 'TimeoutError' })
  await t.rejects(post(options(['127.0.0.1'], slow), `https://127.0.0.1:${silent.port}/`), { name: 'TimeoutError' })
  const forEver = { ...slow, resolve: () => new Promise<never>(() => {}) }
  // Something has to keep the process alive: the time limit does not.
  const alive = setTimeout(() => {}, 60_000)
  await t.rejects(post(options([], forEver), 'https://hooks.example.test/'), { name: 'TimeoutError' })
  clearTimeout(alive)
  const receiver = await startWebhookReceiver(t, response => response.writeHead(202).write('and then nothing more'))
  t.equal(await post(options(['127.0.0.1'], slow), receiver.url), 202, 'its status had come')
})

t.test('closing cuts a request off at once', async t => {
  const silent = await startSilentSocket(t)
  const closing = new AbortController()
  const posted = post(options(['127.0.0.1']), `http://127.0.0.1:${silent.port}/`, closing.signal)
  await until('it is connected', () => silent.connections() === 1)
  closing.abort(new Error('closing'))
  await t.rejects(posted, { message: 'closing' })
})

t.test('no other file hands node:net or node:http a lookup or a connection of its own', async t => {
  const own = globSync('src/**/*.ts', { cwd: ROOT }).filter(file => {
    const text = readFileSync(path.join(ROOT, file), 'utf8')
    return /from 'node:(net|tls|http|https)'/.test(text) && /\blookup:|createConnection/.test(text)
  })
  t.same(own, ['src/notifications/channels/guarded-post.ts'])
})
