import t from 'tap'
import { startApp } from '../fixtures/app/app.ts'
import { COLLECTION } from '../fixtures/app/registration.ts'

const EXPIRES_AT = '2030-01-31T00:00:00Z'

t.test('what the schemas refuse is told in words for people, at its place', async t => {
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
      { pointer: '/scopes', detail: 'must hold nothing twice' }
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
