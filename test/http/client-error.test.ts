import t from 'tap'
import { startApp } from '../fixtures/app/app.ts'
import { capturedLog } from '../fixtures/app/log.ts'
import { exchangeBytes } from '../fixtures/app/raw-http.ts'
import { until } from '../fixtures/run/until.ts'

const POST = 'POST /oauth/token HTTP/1.1\r\nHost: grantd\r\nContent-Type: application/x-www-form-urlencoded\r\n'

// [HTTP-2]
t.test(
  'bytes that are no HTTP request are answered as a problem, logged without their content, and end the connection',
  async t => {
    const { log, lines } = capturedLog()
    const grantd = await startApp(t, { log })
    for (const [what, bytes, status, reason] of [
      [
        'two lengths',
        `${POST}Content-Length: 3\r\nContent-Length: 5\r\n\r\nabcde`,
        400,
        'HPE_UNEXPECTED_CONTENT_LENGTH'
      ],
      [
        'a length and chunks',
        `${POST}Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
        400,
        'HPE_INVALID_TRANSFER_ENCODING'
      ],
      ['no HTTP', 'canary\r\n\r\n', 400, 'HPE_INVALID_METHOD'],
      [
        'a header too long',
        `GET / HTTP/1.1\r\nHost: grantd\r\nX: ${'canary'.repeat(8_000)}\r\n\r\n`,
        431,
        'HPE_HEADER_OVERFLOW'
      ]
    ] as const) {
      lines.length = 0
      const answer = await exchangeBytes(grantd.baseUrl, bytes)
      t.match(answer, new RegExp(`^HTTP/1\\.1 ${status} `), what)
      for (const header of ['application/problem+json', 'nosniff', 'no-store', 'Connection: close']) {
        t.match(answer, header, what)
      }
      await until('it is logged', () => lines.length > 0)
      t.match(JSON.parse(lines[0] ?? ''), { msg: 'malformed HTTP request', status, reason, source: '127.0.0.1' }, what)
      t.notMatch(lines.join(''), 'canary')
    }
  }
)

t.test('headers of 31 KiB are accepted, and the answer to longer ones names the limit', async t => {
  const grantd = await startApp(t)
  const request = (bytes: number) =>
    `GET /health/live HTTP/1.1\r\nHost: grantd\r\nConnection: close\r\nAuthorization: Bearer ${'x'.repeat(bytes)}\r\n\r\n`
  t.match(await exchangeBytes(grantd.baseUrl, request(31 * 1_024)), /^HTTP\/1\.1 200 /)
  const answer = await exchangeBytes(grantd.baseUrl, request(33 * 1_024))
  t.match(answer, /^HTTP\/1\.1 431 [\s\S]*"code":"headers_too_large","detail":"[^"]*32 KiB/)
})

t.test('the answer to a malformed URL has the common headers', async t => {
  const grantd = await startApp(t)
  const { status, headers } = await grantd.send('GET', '/%zz')
  t.equal(status, 400)
  t.equal(headers['x-content-type-options'], 'nosniff')
})
