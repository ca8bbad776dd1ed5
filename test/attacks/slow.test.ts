import { connect } from 'node:net'
import t from 'tap'
import { startApp } from '../fixtures/app/app.ts'
import type { Grantd } from '../fixtures/app/grantd.ts'
import { exchangeBytes } from '../fixtures/app/raw-http.ts'
import { COLLECTION } from '../fixtures/app/registration.ts'

const FORM = 'Content-Type: application/x-www-form-urlencoded'

/** Limits are looked at once a second; the rest is a busy machine. */
const LATE_MS = 8_000

interface Attack {
  what: string
  /** Sent at once. */
  head: string
  /** Sent again and again until the connection is gone. */
  piece: string
  everyMs: number
  /** Status of the answer. A caller that is still sending when the connection is closed may not see it. */
  status: number
  /** When the connection must be gone, and not before, milliseconds after it was opened. */
  closedAfterMs: readonly [least: number, most: number]
  /** How much may be taken from the attacker. */
  mostBytes?: number
}

interface Outcome {
  closedAfterMs: number
  status: number | undefined
  /** Bytes that the service has taken, and what its socket buffers. */
  sentBytes: number
}

async function carryOut(grantd: Grantd, { head, piece, everyMs }: Attack): Promise<Outcome> {
  const { hostname, port } = new URL(grantd.baseUrl)
  const socket = connect(Number(port), hostname)
  const started = performance.now()
  const { promise, resolve } = Promise.withResolvers<Outcome>()
  let received = ''
  const timer = setInterval(() => {
    if (socket.writable && !socket.writableNeedDrain && piece !== '') socket.write(piece)
  }, everyMs)
  socket.write(head)
  socket.on('data', chunk => (received += chunk))
  socket.on('error', () => {})
  socket.on('end', () => socket.destroy())
  socket.on('close', () => {
    clearInterval(timer)
    const [, status] = /^HTTP\/1\.1 (\d{3}) /.exec(received) ?? []
    resolve({
      closedAfterMs: performance.now() - started,
      status: status === undefined ? undefined : Number(status),
      sentBytes: socket.bytesWritten
    })
  })
  return promise
}

// [LOAD-6]
t.test('slow headers are cut at 10 s, slow bodies at 15 s, and endless ones at once', { timeout: 60_000 }, async t => {
  const grantd = await startApp(t)
  const bearer = `Authorization: Bearer ${await grantd.adminToken(['*'])}`
  const json = `${bearer}\r\nContent-Type: application/json`
  const start = (method: string, path: string, ...lines: string[]) =>
    [`${method} ${path} HTTP/1.1`, 'Host: grantd', ...lines].join('\r\n')
  const chunk = `4000\r\n${'x'.repeat(0x4000)}\r\n`
  const headersLimit = [9_500, 10_000 + LATE_MS] as const
  const bodyLimit = [14_500, 15_000 + LATE_MS] as const
  const atOnce = [0, LATE_MS] as const
  const attacks: Attack[] = [
    {
      what: 'a header a byte at a time',
      head: `${start('POST', '/oauth/token', FORM)}\r\nX-Slow: `,
      piece: 'x',
      everyMs: 400,
      status: 408,
      closedAfterMs: headersLimit
    },
    {
      what: 'a header line at a time',
      head: `${start('GET', COLLECTION, bearer)}\r\n`,
      piece: 'X-Slow: x\r\n',
      everyMs: 900,
      status: 408,
      closedAfterMs: headersLimit
    },
    { what: 'nothing at all', head: '', piece: '', everyMs: 1_000, status: 408, closedAfterMs: headersLimit },
    {
      what: 'half a request line',
      head: 'POST /oauth',
      piece: '',
      everyMs: 1_000,
      status: 408,
      closedAfterMs: headersLimit
    },
    {
      what: 'a form a byte at a time',
      head: `${start('POST', '/oauth/token', FORM, 'Content-Length: 1000')}\r\n\r\n`,
      piece: 'x',
      everyMs: 400,
      status: 408,
      closedAfterMs: bodyLimit
    },
    {
      what: 'a form in chunks of a byte',
      head: `${start('POST', '/oauth/token', FORM, 'Transfer-Encoding: chunked')}\r\n\r\n`,
      piece: '1\r\nx\r\n',
      everyMs: 400,
      status: 408,
      closedAfterMs: bodyLimit
    },
    {
      what: "an administrator's JSON a byte at a time",
      head: `${start('POST', COLLECTION, json, 'Content-Length: 1000')}\r\n\r\n`,
      piece: ' ',
      everyMs: 400,
      status: 408,
      closedAfterMs: bodyLimit
    },
    {
      what: 'a declared body that never comes',
      head: `${start('PATCH', `${COLLECTION}/${'a'.repeat(20)}`, json, 'Content-Length: 10')}\r\n\r\n`,
      piece: '',
      everyMs: 1_000,
      status: 408,
      closedAfterMs: bodyLimit
    },
    {
      what: 'chunks without end to the token endpoint',
      head: `${start('POST', '/oauth/token', FORM, 'Transfer-Encoding: chunked')}\r\n\r\n`,
      piece: chunk,
      everyMs: 1,
      status: 413,
      closedAfterMs: atOnce,
      mostBytes: 8 * 1_048_576
    },
    {
      what: 'chunks without end from an administrator',
      head: `${start('POST', COLLECTION, json, 'Transfer-Encoding: chunked')}\r\n\r\n`,
      piece: chunk,
      everyMs: 1,
      status: 413,
      closedAfterMs: atOnce,
      mostBytes: 8 * 1_048_576
    },
    {
      what: '10 GiB declared, and sent',
      head: `${start('POST', '/oauth/token', FORM, 'Content-Length: 10737418240')}\r\n\r\n`,
      piece: 'x'.repeat(16_384),
      everyMs: 1,
      status: 413,
      closedAfterMs: atOnce,
      mostBytes: 8 * 1_048_576
    },
    {
      what: "a stranger's body without end to the admin API",
      head: `${start('POST', COLLECTION, 'Content-Type: application/json', 'Transfer-Encoding: chunked')}\r\n\r\n`,
      piece: chunk,
      everyMs: 1,
      status: 401,
      closedAfterMs: atOnce,
      mostBytes: 8 * 1_048_576
    },
    {
      what: 'a body without end to a path that is not there',
      head: `${start('POST', '/nothing', 'Transfer-Encoding: chunked')}\r\n\r\n`,
      piece: chunk,
      everyMs: 1,
      status: 404,
      closedAfterMs: atOnce,
      mostBytes: 8 * 1_048_576
    }
  ]
  const outcomes = await Promise.all(attacks.map(attack => carryOut(grantd, attack)))
  for (const [index, { what, status, closedAfterMs, mostBytes }] of attacks.entries()) {
    const outcome = outcomes[index]
    if (outcome === undefined) throw new Error('no outcome')
    const [least, most] = closedAfterMs
    t.comment(`${what}: ${outcome.status} after ${Math.round(outcome.closedAfterMs)} ms, ${outcome.sentBytes} bytes`)
    if (mostBytes === undefined || outcome.status !== undefined) t.equal(outcome.status, status, what)
    t.ok(outcome.closedAfterMs >= least && outcome.closedAfterMs <= most, `${what}: ${outcome.closedAfterMs} ms`)
    if (mostBytes !== undefined) t.ok(outcome.sentBytes < mostBytes, `${what}: ${outcome.sentBytes} bytes`)
  }
  t.equal((await grantd.send('GET', '/health/live')).status, 200)
})

t.test('a body that the operation does not read costs its caller neither the answer nor the connection', async t => {
  const grantd = await startApp(t)
  const request = (last: string) =>
    `POST ${COLLECTION} HTTP/1.1\r\nHost: grantd\r\nContent-Length: 16000\r\n${last}\r\n${'x'.repeat(16_000)}`
  const received = await exchangeBytes(grantd.baseUrl, request('') + request('Connection: close\r\n'))
  t.same(received.match(/HTTP\/1\.1 \d{3}/g), ['HTTP/1.1 401', 'HTTP/1.1 401'])
})
