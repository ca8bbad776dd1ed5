import { decodeJwt } from 'jose'
import t, { type Test } from 'tap'
import { createClientSecret } from '../../../src/credentials/secret.ts'
import { Registry } from '../../../src/metrics/registry.ts'
import { startApp } from '../../fixtures/app/app.ts'
import type { Answer, Grantd } from '../../fixtures/app/grantd.ts'
import { readMetric } from '../../fixtures/app/metrics.ts'

const [A, B] = ['https://a.example', 'https://b.example/api']
const DEFAULT = 'https://default.example'
const FORM = { 'content-type': 'application/x-www-form-urlencoded' }

interface Client {
  clientId: string
  clientSecret: string
}

function ask(grantd: Grantd, { clientId, clientSecret }: Client, parameters: string): Promise<Answer> {
  const body = `grant_type=client_credentials&client_id=${clientId}&client_secret=${clientSecret}${parameters}`
  return grantd.send('POST', '/oauth/token', { body, headers: FORM })
}

/** A client that no instance has seen, and one that this instance has cached. */
async function startWith(t: Test, audiences: readonly string[], options: Parameters<typeof startApp>[1] = {}) {
  const grantd = await startApp(t, { ...options, environment: { ACCESS_TOKEN_AUDIENCE: DEFAULT } })
  const cached = await grantd.register({ audiences })
  for (let time = 0; time < 2; time++) t.equal((await grantd.exchange(cached)).status, 200)
  return { grantd, cached, register: () => grantd.register({ audiences }) }
}

for (const [what, audiences, parameters, aud] of [
  ['no resource, no audiences: ACCESS_TOKEN_AUDIENCE', [], '', DEFAULT],
  ['no resource, two audiences: the first', [A, B], '', A],
  ['no resource, a plain name first: that name', ['plain', B], '', 'plain'],
  ['a registered resource: that one', [A, B], `&resource=${encodeURIComponent(B)}`, B],
  ['an empty path for /: as registered', [`${A}/`, B], `&resource=${A}`, `${A}/`],
  ['/ for an empty path: as registered', [B, A], `&resource=${A}/`, A],
  ['no audiences, and the default as resource: the default', [], `&resource=${DEFAULT}`, DEFAULT],
  ['an empty resource: as without', [A, B], '&resource=', A],
  ['audience, which is no parameter of RFC 8707: as without', [A, B], `&audience=${B}`, A]
] as const) {
  t.test(`aud of a token request with ${what} (RFC 8707 §2.2, RFC 9068 §3)`, async t => {
    const { grantd, cached, register } = await startWith(t, audiences)
    for (const client of [await register(), cached]) {
      const answer = await ask(grantd, client, parameters)
      t.equal(answer.status, 200, answer.text)
      t.strictSame(decodeJwt(answer.json().access_token).aud, aud, 'one string')
    }
  })
}

/** Parameters that ask for no audience of a registration for A and B, with the reason for log and metrics. */
const REFUSED = [
  ['resource=https://c.example', 'resource_not_allowed'],
  [`resource=${DEFAULT}`, 'resource_not_allowed'],
  [`resource=${B}/`, 'resource_not_allowed'],
  ['resource=https://A.example', 'resource_not_allowed'],
  ['resource=https://a.example:443', 'resource_not_allowed'],
  ['resource=/api', 'malformed_resource'],
  ['resource=a.example', 'malformed_resource'],
  [`resource=${A}%23x`, 'malformed_resource'],
  [`resource=${A}/${'x'.repeat(600)}`, 'malformed_resource'],
  [`resource=${A}+${B}`, 'malformed_resource'],
  [`resource=${A}&resource=${B}`, 'repeated_resource'],
  [`resource=${A}&resource=${A}`, 'repeated_resource'],
  [`resource=&resource=${A}`, 'repeated_resource']
] as const

t.test('any other resource is 400 invalid_target, and its reason is counted (RFC 8707 §2)', async t => {
  const metrics = new Registry()
  const { grantd, cached, register } = await startWith(t, [A, B], { metrics })
  const expected: Record<string, number> = {}
  for (const [parameters, reason] of REFUSED) {
    for (const client of [await register(), cached]) {
      const answer = await ask(grantd, client, `&${parameters}`)
      t.equal(answer.status, 400, parameters)
      t.equal(answer.json().error, 'invalid_target', parameters)
      t.notMatch(answer.text, /example|api/, 'the answer repeats no input')
      expected[reason] = (expected[reason] ?? 0) + 1
    }
  }
  const counted = (await readMetric(metrics, 'grantd_token_requests_total')) ?? {}
  for (const [reason, count] of Object.entries(expected)) t.equal(counted[`{outcome="${reason}"}`], count, reason)
})

t.test('without registered audiences, any resource but the default is invalid_target', async t => {
  const { grantd, cached, register } = await startWith(t, [])
  for (const client of [await register(), cached]) {
    t.equal((await ask(grantd, client, `&resource=${A}`)).json().error, 'invalid_target')
  }
})

t.test(
  'a caller that does not authenticate learns nothing from resource: the bytes of every 401 are the same',
  async t => {
    const { grantd, cached, register } = await startWith(t, [A])
    const cold = await register()
    const unknown = { clientId: '0'.repeat(20), clientSecret: '' }
    for (const { clientId } of [cold, cached, unknown]) {
      const wrong = { clientId, clientSecret: createClientSecret('grantd_') }
      const expected = await ask(grantd, wrong, '')
      t.equal(expected.status, 401)
      for (const parameters of [`resource=${A}`, ...REFUSED.map(([each]) => each)]) {
        const { status, text, headers } = await ask(grantd, wrong, `&${parameters}`)
        t.same({ status, text }, { status: 401, text: expected.text }, parameters)
        t.equal(headers['www-authenticate'], expected.headers['www-authenticate'])
      }
    }
  }
)

t.test('a disabled client with the right secret is told so, whatever its resource', async t => {
  const { grantd, cached } = await startWith(t, [A])
  await grantd.asAdmin('PATCH', cached.path, { body: { enabled: false } })
  for (const parameters of ['', `&resource=${A}&resource=${A}`, '&resource=x']) {
    t.match((await ask(grantd, cached, parameters)).json(), { error: 'invalid_client', error_description: /disabled/ })
  }
})

t.test('a change of audiences takes effect on the next exchange, also of a cached client', async t => {
  const { grantd, cached } = await startWith(t, [A])
  const other = await startApp(t, { databaseUrl: grantd.databaseUrl })
  const resource = `&resource=${B}`
  t.equal((await ask(grantd, cached, resource)).json().error, 'invalid_target')
  t.equal((await other.asAdmin('PATCH', cached.path, { body: { audiences: [B] } })).status, 200)
  t.equal(decodeJwt((await ask(grantd, cached, resource)).json().access_token).aud, B)
  t.equal(decodeJwt((await grantd.exchange(cached)).json().access_token).aud, B)
  t.equal((await ask(grantd, cached, `&resource=${A}`)).json().error, 'invalid_target')
})

t.test('a refused resource does not move Last used', async t => {
  const { grantd, register } = await startWith(t, [A])
  const client = await register()
  for (let time = 0; time < 2; time++) t.equal((await ask(grantd, client, '&resource=x:y')).status, 400)
  t.equal((await grantd.asAdmin('GET', client.path)).json().lastUsedAt, null)
})

t.test('resource in the query is refused like any OAuth parameter there', async t => {
  const { grantd, cached: client } = await startWith(t, [A])
  const body = `grant_type=client_credentials&client_id=${client.clientId}&client_secret=${client.clientSecret}`
  const answer = await grantd.send('POST', `/oauth/token?resource=${A}`, { body, headers: FORM })
  t.match(answer.json(), { error: 'invalid_request' })
})
