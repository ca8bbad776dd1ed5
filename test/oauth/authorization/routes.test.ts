import { METHODS } from 'node:http'
import t from 'tap'
import { startApp } from '../../fixtures/app/app.ts'
import type { Sending } from '../../fixtures/app/grantd.ts'

const PATH = '/oauth/authorize'
const CANARY = 'canary-5f1d7c'
const QUERY =
  `?response_type=code&client_id=${CANARY}&redirect_uri=https%3A%2F%2F${CANARY}.example%2Fcallback` +
  `&state=${CANARY}&scope=${CANARY}&code_challenge=${CANARY}&code_challenge_method=S256&response_mode=form_post`

/** Node answers CONNECT itself, by closing the connection. */
const methods = METHODS.filter(method => method !== 'CONNECT')

t.test(
  'the authorization endpoint answers every request with the same 400 unsupported_response_type, never with a redirect or with its input (RFC 6749 §4.1.2.1)',
  async t => {
    const grantd = await startApp(t, { environment: { PUBLISH_AUTHORIZATION_ENDPOINT: 'true' } })
    const expected = await grantd.send('GET', PATH)
    t.equal(expected.json().error, 'unsupported_response_type')
    t.same(Object.keys(expected.json()), ['error', 'error_description'])
    const isRefused = async (method: string, query: string, sending: Sending) => {
      const answer = await grantd.send(method, `${PATH}${query}`, sending)
      const what = `${method} ${query} ${JSON.stringify(sending)}`
      t.equal(answer.status, 400, what)
      t.equal(answer.text, method === 'HEAD' ? '' : expected.text, what)
      t.equal(answer.headers['location'], undefined, what)
      t.equal(answer.headers['cache-control'], 'no-store', what)
      t.equal(answer.headers['content-type'], 'application/json', what)
      t.notMatch(JSON.stringify(answer.headers), CANARY, what)
    }
    for (const method of methods) {
      for (const query of ['', '?', QUERY, '?response_type=token', '?x=%zz&x=%00']) await isRefused(method, query, {})
    }
    const form = { 'content-type': 'application/x-www-form-urlencoded' }
    for (const [headers, body] of [
      [form, QUERY.slice(1)],
      [form, '%zz'],
      [form, 'x'.repeat(40_000)],
      [{ 'content-type': 'application/json' }, '{"response_type":"code"}'],
      [{ 'content-type': 'application/json' }, '{'],
      [{ 'content-type': CANARY }, CANARY],
      [{ ...form, 'content-encoding': 'gzip' }, CANARY],
      [{ accept: 'text/html', origin: `https://${CANARY}.example` }, ''],
      [{ authorization: `Basic ${CANARY}`, cookie: CANARY }, '']
    ] as const) {
      for (const method of ['GET', 'POST', 'PUT']) await isRefused(method, QUERY, { headers, body })
    }
  }
)

t.test('without PUBLISH_AUTHORIZATION_ENDPOINT the path does not exist', async t => {
  const grantd = await startApp(t)
  const unknown = await grantd.send('GET', '/oauth/nothing')
  for (const method of ['GET', 'POST']) {
    const answer = await grantd.send(method, `${PATH}${QUERY}`)
    t.equal(answer.status, 404)
    t.equal(answer.text, unknown.text)
  }
})

t.test('with PUBLISH_AUTHORIZATION_ENDPOINT no other path takes more methods than before', async t => {
  const [grantd, without] = [
    await startApp(t, { environment: { PUBLISH_AUTHORIZATION_ENDPOINT: 'true' } }),
    await startApp(t)
  ]
  for (const path of [
    '/oauth/token',
    '/.well-known/jwks.json',
    '/v1/sites/acme/app-registrations',
    '/x',
    `${PATH}/x`
  ]) {
    for (const method of ['PROPFIND', 'QUERY', 'OPTIONS', 'TRACE', 'LINK']) {
      const [answer, expected] = [await grantd.send(method, path), await without.send(method, path)]
      t.equal(answer.status, expected.status, `${method} ${path}`)
      t.equal(answer.headers['allow'], expected.headers['allow'], `${method} ${path}`)
    }
  }
})
