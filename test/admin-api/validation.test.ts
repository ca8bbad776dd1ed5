import t from 'tap'
import { parse } from 'yaml'
import { describeApi } from '../../tools/openapi.ts'
import { Clock, startApp } from '../fixtures/app/app.ts'
import type { description } from '../fixtures/app/openapi.ts'
import { COLLECTION, inDays } from '../fixtures/app/registration.ts'

const EXPIRES_AT = '2030-01-31T00:00:00Z'

t.test('a fault of a schema is explained in words for people, at its place', async t => {
  const grantd = await startApp(t)
  const receivers = '/v1/sites/acme/notice-receivers'
  for (const [method, path, body, fault] of [
    ['POST', COLLECTION, [], { pointer: '', detail: 'must be an object' }],
    ['POST', COLLECTION, { name: 5, expiresAt: EXPIRES_AT }, { pointer: '/name', detail: 'must be a string' }],
    [
      'POST',
      COLLECTION,
      { name: 'x', expiresAt: EXPIRES_AT, enabled: 1 },
      { pointer: '/enabled', detail: 'must be true or false' }
    ],
    [
      'POST',
      COLLECTION,
      { name: 'x', expiresAt: '2030-01-31T00:00:00' },
      {
        pointer: '/expiresAt',
        detail: 'must be an RFC 3339 date and time with an offset, such as 2030-01-31T00:00:00Z'
      }
    ],
    [
      'POST',
      COLLECTION,
      { name: 'x', expiresAt: EXPIRES_AT, scopes: ['a', 'a'] },
      { pointer: '/scopes', detail: 'must not contain duplicates' }
    ],
    ['PATCH', (await grantd.register()).path, {}, { pointer: '', detail: 'must have at least one member' }],
    [
      'POST',
      receivers,
      { kind: 'webhook', url: 'https://example.com', steps: [] },
      { pointer: '/steps', detail: 'must not be empty' }
    ],
    ['GET', `${COLLECTION}?limit=0`, undefined, { parameter: 'limit', detail: 'must be at least 1' }],
    ['GET', `${COLLECTION}?limit=-1`, undefined, { parameter: 'limit', detail: 'must be at least 1' }],
    ['GET', `${COLLECTION}?limit=9999999999`, undefined, { parameter: 'limit', detail: 'must be at most 200' }],
    ['GET', `${COLLECTION}?limit=201`, undefined, { parameter: 'limit', detail: 'must be at most 200' }],
    ['GET', `${COLLECTION}?limit=ten`, undefined, { parameter: 'limit', detail: 'must be an integer' }],
    ['GET', `${COLLECTION}?limit=1&limit=2`, undefined, { parameter: 'limit', detail: 'must be given once' }],
    ['GET', `${COLLECTION}?constructor=1&constructor=2`, undefined, { parameter: 'constructor', detail: 'is unknown' }],
    ['GET', `${COLLECTION}?limits=1&limits=2`, undefined, { parameter: 'limits', detail: 'is unknown' }]
  ] as const) {
    const answer = await grantd.asAdmin(method, path, body === undefined ? {} : { body })
    t.equal(answer.status, 400, path)
    t.match(answer.json(), { code: 'invalid_request' })
    const { code: _code, ...told } = answer.json().errors[0]
    t.same(told, fault)
  }
})

interface Answer {
  code: string
  errors: { pointer?: string; parameter?: string; code: string; detail: string }[]
}

function placesOf({ errors }: Answer): string[] {
  return errors.map(({ pointer, parameter, code }) => `${pointer ?? `?${parameter}`} ${code}`).sort()
}

// [INPUT-20]
t.test('one answer lists every fault: of JSON, schema, rules, query and headers', async t => {
  const grantd = await startApp(t)
  const { path } = await grantd.register()
  const headers = { 'idempotency-key': 'short' }
  const post = (body: string, query = '') =>
    grantd.asAdmin('POST', `${COLLECTION}${query}`, {
      body: Buffer.from(body),
      headers: { ...headers, 'content-type': 'application/json' }
    })
  const body =
    '{"name":"","name":"\\u202e","expiresAt":"2001-01-01T00:00:00Z","enabled":1,"scopes":["a b","a b",5],"state":"x","__proto__":{}}'
  const created = (await post(body, '?dryRun=true&dryRun=false')).json()
  t.equal(created.code, 'invalid_json')
  t.same(placesOf(created), [
    '/__proto__ unknown_member',
    '/enabled wrong_type',
    '/expiresAt in_the_past',
    '/name duplicate_member',
    '/name invalid_character',
    '/scopes invalid_value',
    '/scopes/0 invalid_value',
    '/scopes/1 invalid_value',
    '/scopes/2 wrong_type',
    '/state unknown_member',
    '?dryRun unknown_member',
    '?idempotency-key invalid_value'
  ])
  const changed = await grantd.asAdmin('PATCH', path, {
    body: { name: '\u0000', expiresAt: '2001-01-01T00:00:00Z', clientId: 'x', enabled: null }
  })
  t.same(placesOf(changed.json()), [
    '/clientId unknown_member',
    '/enabled wrong_type',
    '/expiresAt in_the_past',
    '/name invalid_character'
  ])
  t.same(placesOf((await post('{"name":', '?x=1')).json()), [
    ' not_json',
    '?idempotency-key invalid_value',
    '?x unknown_member'
  ])
  const listed = await grantd.asAdmin('GET', `${COLLECTION}?limit=1&limit=2&state=x&enabled=1&unknown=1&sort=-name`)
  t.same(placesOf(listed.json()), [
    '?enabled wrong_type',
    '?limit wrong_type',
    '?sort invalid_value',
    '?state invalid_value',
    '?unknown unknown_member'
  ])
})

t.test('one answer lists every fault of a receiver too', async t => {
  const grantd = await startApp(t)
  const receivers = '/v1/sites/acme/notice-receivers'
  const post = async (body: unknown) => placesOf((await grantd.asAdmin('POST', receivers, { body })).json())
  t.same(await post({ kind: 'webhook', addresses: ['a@example.com'], steps: [7, 99, 5], secret: 'x' }), [
    '/addresses unknown_member',
    '/secret unknown_member',
    '/steps/1 invalid_value',
    '/steps/2 invalid_value',
    '/url required'
  ])
  t.same(await post({ kind: 'webhook', url: 5, steps: [5] }), ['/steps/0 invalid_value', '/url wrong_type'])
  t.same(await post({ kind: 'pigeon', url: 'https://127.0.0.1/', steps: [5] }), [
    '/kind invalid_value',
    '/steps/0 invalid_value',
    '/url invalid_value'
  ])
})

t.test('a field that keeps its value is not judged, also beside other faults', async t => {
  const clock = new Clock()
  const grantd = await startApp(t, { now: clock.now })
  const expiresAt = new Date(clock.time + 1_000).toISOString()
  const { path } = await grantd.register({ expiresAt })
  clock.advance(2_000)
  const answer = await grantd.asAdmin('PATCH', path, { body: { expiresAt, enabled: 'yes' } })
  t.same(placesOf(answer.json()), ['/enabled wrong_type'])
})

t.test('a fault of form is explained in words, without the regular expression', async t => {
  const grantd = await startApp(t)
  const body = { name: 'x', expiresAt: inDays(10), scopes: ['a b'] }
  for (const answer of [
    await grantd.asAdmin('POST', COLLECTION, { body }),
    await grantd.asAdmin('POST', COLLECTION, { body, headers: { 'idempotency-key': `${'x'.repeat(16)} y` } }),
    await grantd.asAdmin('GET', `${COLLECTION}?search=%00`),
    await grantd.asAdmin('GET', '/v1/app-registrations?siteId=a%20b'),
    await grantd.asAdmin('GET', '/v1/sites/acme/audit-events?action=A&actor=%00&clientId=%20')
  ]) {
    t.equal(answer.status, 400)
    for (const { detail } of answer.json().errors) {
      t.match(detail, /^must /)
      t.notMatch(detail, /[\^$[\]{}]|pattern/, detail)
    }
  }
})

/** Returns where a schema demands a form and does not say it in words. */
function wordless(schema: unknown, where: string, schemas: Record<string, unknown>): string[] {
  if (typeof schema !== 'object' || schema === null) return []
  if ('$ref' in schema) {
    const name = String(schema.$ref).replace('#/components/schemas/', '')
    return wordless(schemas[name], name, schemas)
  }
  const own = 'pattern' in schema && typeof schema.pattern === 'string' && !('x-fault' in schema) ? [where] : []
  return [...own, ...Object.entries(schema).flatMap(([name, part]) => wordless(part, `${where}/${name}`, schemas))]
}

t.test('each form that a body, a query or a header must have is said in words', async t => {
  const { paths, components }: typeof description = parse(await describeApi({ isWithFaults: true }))
  const operations = Object.values(paths).flatMap(methods => Object.values(methods))
  const asked = operations.flatMap(({ operationId, parameters = [], requestBody }) =>
    [...parameters.filter(parameter => parameter.in !== 'path'), requestBody].map(part =>
      wordless(part, operationId, components.schemas)
    )
  )
  t.ok(asked.length > 20)
  t.same(asked.flat(), [])
})

t.test('a secret that was sent as the name of a member or parameter is not repeated', async t => {
  const grantd = await startApp(t)
  const { clientSecret } = await grantd.register()
  const named = { [clientSecret]: 1 }
  const text = `{"name":{"${clientSecret}":1,"${clientSecret}":2}}`
  const headers = { authorization: `Bearer ${await grantd.adminToken(['*'])}`, 'content-type': 'application/json' }
  for (const answer of [
    await grantd.asAdmin('POST', COLLECTION, { body: named }),
    await grantd.asAdmin('GET', `${COLLECTION}?${clientSecret}=1`),
    await grantd.send('POST', COLLECTION, { headers, body: text }),
    await grantd.send('POST', '/v1/secret-reports', { headers, body: JSON.stringify({ secrets: [named] }) })
  ]) {
    t.equal(answer.status, 400)
    t.match(answer.text, clientSecret.slice(0, 32))
    t.notMatch(answer.text, clientSecret.slice(0, 33))
  }
})
