import fc from 'fast-check'
import t from 'tap'
import { startApp } from '../fixtures/app/app.ts'
import { requestBytes, sendBytes } from '../fixtures/app/raw-http.ts'

const FORM = 'application/x-www-form-urlencoded'
const bytes = fc.uint8Array({ maxLength: 300 }).map(array => Buffer.from(array))
const line = bytes.map(value => Buffer.from(value.filter(byte => byte !== 10 && byte !== 13)))
const base64 = bytes.map(value => Buffer.from(`Basic ${value.toString('base64')}`))
const escapes = fc.stringMatching(/^(%[0-9A-Fa-f]{2}|[a-z=&+%]){0,100}$/).map(text => Buffer.from(text))
const json = fc.stringMatching(/^([{}[\],:"\\0-9eE.+-]|null|true|"name"|"expiresAt"|"\\u0000"){0,60}$/)

/** Refused by HTTP itself, by grantd, or shed: never a fault of ours, never silence. */
const isRefusal = (status: number | undefined): boolean => status !== undefined && status >= 400 && status < 500

// [TOKEN-6]
t.test('no bytes in the Authorization header ever give a 5xx', async t => {
  const grantd = await startApp(t, { environment: { TOKEN_FAILURE_LIMIT: '1000000' } })
  const { path } = await grantd.register()
  const body = Buffer.from('grant_type=client_credentials')
  await fc.assert(
    fc.asyncProperty(fc.oneof(line, base64), async authorization => {
      const headers = { 'Content-Type': FORM, Authorization: authorization }
      return (
        isRefusal(await sendBytes(grantd.baseUrl, requestBytes('/oauth/token', headers, body))) &&
        isRefusal(await sendBytes(grantd.baseUrl, requestBytes(path, headers, body)))
      )
    }),
    { numRuns: 1_000 }
  )
})

t.test('no bytes in a form body ever give a 5xx', async t => {
  const grantd = await startApp(t, { environment: { TOKEN_FAILURE_LIMIT: '1000000' } })
  const named = fc
    .tuple(fc.constantFrom('grant_type=client_credentials&', 'client_id=', 'scope=', ''), escapes)
    .map(([name, value]) => Buffer.concat([Buffer.from(name), value]))
  await fc.assert(
    fc.asyncProperty(fc.oneof(bytes, escapes, named), async body =>
      isRefusal(await sendBytes(grantd.baseUrl, requestBytes('/oauth/token', { 'Content-Type': FORM }, body)))
    ),
    { numRuns: 1_000 }
  )
})

t.test('no bytes in a JSON body or a path ever give a 5xx', async t => {
  const grantd = await startApp(t)
  const headers = { 'Content-Type': 'application/json', Authorization: `Bearer ${await grantd.adminToken(['*'])}` }
  const path = '/v1/sites/acme/app-registrations'
  await fc.assert(
    fc.asyncProperty(
      fc.oneof(
        bytes,
        json.map(text => Buffer.from(text))
      ),
      async body => isRefusal(await sendBytes(grantd.baseUrl, requestBytes(path, headers, body)))
    ),
    { numRuns: 1_000 }
  )
  const segment = fc.oneof(
    fc.webSegment(),
    escapes.map(String),
    fc.constantFrom('%00', '%ff', '..', '%2e%2e', '%2f', '*')
  )
  await fc.assert(
    fc.asyncProperty(segment, segment, async (site, clientId) => {
      const answer = await sendBytes(
        grantd.baseUrl,
        Buffer.from(
          `GET /v1/sites/${site.replaceAll(/[\s#]/g, '')}/app-registrations/${clientId.replaceAll(/[\s#]/g, '')} HTTP/1.1\r\n` +
            `Host: grantd\r\nAuthorization: ${headers.Authorization}\r\n\r\n`
        )
      )
      // A client id of nothing is the list of a Site.
      return answer !== undefined && answer < 500
    }),
    { numRuns: 500 }
  )
})
