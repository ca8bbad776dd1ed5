import t from 'tap'
import { startApp } from '../fixtures/app/app.ts'
import type { Answer } from '../fixtures/app/grantd.ts'
import { COLLECTION, inDays } from '../fixtures/app/registration.ts'

const placesOf = (answer: Answer): string[] =>
  answer.json().errors.map(({ pointer, code }: { pointer: string; code: string }) => `${pointer} ${code}`)

t.test('audiences are set at create and by PATCH, are none by default, and keep their order and spelling', async t => {
  const grantd = await startApp(t)
  const { path, answer } = await grantd.register()
  t.same(answer.json().audiences, [])
  for (const audiences of [
    ['devices', 'https://B.example', 'https://a.example/'],
    ['https://a.example/', 'https://B.example'],
    ['https://a.example', 'https://B.example'],
    [`https://a.example/${'x'.repeat(494)}`],
    []
  ]) {
    const changed = await grantd.asAdmin('PATCH', path, { body: { audiences } })
    t.equal(changed.status, 200, changed.text)
    t.same(changed.json().audiences, audiences)
    t.same((await grantd.asAdmin('GET', path)).json().audiences, audiences)
    t.same((await grantd.asAdmin('GET', COLLECTION)).json().items[0].audiences, audiences)
  }
  const { items } = (await grantd.asAdmin('GET', '/v1/sites/acme/audit-events?limit=1')).json()
  const last = { from: [`https://a.example/${'x'.repeat(494)}`], to: [] }
  t.match(items, [{ action: 'registration.changed', changes: { audiences: last } }])
})

t.test('every faulty audience is listed at its place, those of the schema and those of the rules', async t => {
  const grantd = await startApp(t)
  const { path } = await grantd.register()
  const audiences = ['https://a.example', 'b', 'https://a.example/', 'https://c.example#x', 'é', '', 'a b']
  const long = `https://a.example/${'x'.repeat(495)}`
  const expected = [
    '/audiences/1 invalid_value',
    '/audiences/2 duplicate',
    '/audiences/3 invalid_value',
    '/audiences/4 invalid_value',
    '/audiences/5 invalid_value',
    '/audiences/6 invalid_value',
    '/audiences/7 invalid_value'
  ]
  for (const answer of [
    await grantd.asAdmin('POST', COLLECTION, {
      body: { name: 'x', expiresAt: inDays(1), audiences: [...audiences, long] }
    }),
    await grantd.asAdmin('PATCH', path, { body: { audiences: [...audiences, long] } })
  ]) {
    t.equal(answer.status, 400)
    t.same(placesOf(answer).sort(), expected)
  }
  t.same((await grantd.asAdmin('GET', path)).json().audiences, [])
})

t.test('with SCOPES_SUPPORTED a registration can be given no other scope, and those it has stay', async t => {
  const free = await startApp(t)
  const { path, clientId, clientSecret } = await free.register({ scopes: ['old', 'devices:read'] })
  const environment = { SCOPES_SUPPORTED: 'devices:read devices:write' }
  const grantd = await startApp(t, { databaseUrl: free.databaseUrl, environment })
  const patch = (body: unknown) => grantd.asAdmin('PATCH', path, { body })

  t.same((await grantd.asAdmin('GET', path)).json().scopes, ['old', 'devices:read'])
  t.equal((await patch({ name: 'renamed', expiresAt: inDays(30) })).status, 200)
  t.equal(
    (await patch({ scopes: ['old', 'devices:read'], enabled: true })).status,
    200,
    'the same scopes are no change'
  )
  t.match((await grantd.exchange({ clientId, clientSecret })).json(), { scope: 'old devices:read' })

  const created = await grantd.asAdmin('POST', COLLECTION, {
    body: { name: '', expiresAt: inDays(1), scopes: ['devices:read', 'other', 'a b', 'more'] }
  })
  t.equal(created.status, 400)
  t.same(placesOf(created).sort(), [
    '/name invalid_length',
    '/scopes/1 unsupported_scope',
    '/scopes/2 invalid_value',
    '/scopes/3 unsupported_scope'
  ])
  t.match(created.text, 'must be one of the scopes of this service: devices:read, devices:write')
  t.same(placesOf(await patch({ scopes: ['old', 'devices:write'] })), ['/scopes/0 unsupported_scope'])
  t.same((await patch({ scopes: ['devices:write'] })).json().scopes, ['devices:write'])
  t.equal((await patch({ scopes: [] })).status, 200)
  t.equal((await patch({ scopes: ['old'] })).status, 400)
})
