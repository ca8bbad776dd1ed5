import t from 'tap'
import { startApp } from '../fixtures/app/app.ts'
import { capturedLog } from '../fixtures/app/log.ts'
import { exchangeBytes } from '../fixtures/app/raw-http.ts'
import { until } from '../fixtures/run/until.ts'

const FORM = 'Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 0\r\nConnection: close\r\n'

// [HTTP-1]
t.test('a request with more than one Host is refused (RFC 9112 §3.2)', async t => {
  const grantd = await startApp(t)
  for (const second of ['Host: other', 'hOST: grantd']) {
    const token = await exchangeBytes(
      grantd.baseUrl,
      `POST /oauth/token HTTP/1.1\r\nHost: grantd\r\n${second}\r\n${FORM}\r\n`
    )
    t.match(token, /^HTTP\/1\.1 400 /)
    t.match(token, '{"error":"invalid_request","error_description":"The request has more than one Host header."}')
    const admin = await exchangeBytes(
      grantd.baseUrl,
      `GET /v1/audit-events HTTP/1.1\r\nHost: grantd\r\n${second}\r\nConnection: close\r\n\r\n`
    )
    t.match(admin, /^HTTP\/1\.1 400 /)
    t.match(admin, '"detail":"The request has more than one Host header."')
    const nowhere = await exchangeBytes(
      grantd.baseUrl,
      `GET /oauth/token HTTP/1.1\r\nHost: grantd\r\n${second}\r\nConnection: close\r\n\r\n`
    )
    t.match(nowhere, /^HTTP\/1\.1 400 /, 'also where there is no route')
  }
})

t.test('an unknown Expect header is ignored, and its request is logged like any other (RFC 9110 §10.1.1)', async t => {
  const { log, lines } = capturedLog()
  const grantd = await startApp(t, { log })
  const answer = await exchangeBytes(
    grantd.baseUrl,
    'GET /health/live HTTP/1.1\r\nHost: grantd\r\nExpect: canary\r\nConnection: close\r\n\r\n'
  )
  t.match(answer, /^HTTP\/1\.1 200 /)
  await until('it is logged', () => lines.some(line => line.includes('/health/live')))
  t.notMatch(lines.join(''), 'canary')
})
