import t from 'tap'
import { startApp } from '../fixtures/app/app.ts'
import { dumpTables } from '../fixtures/app/database.ts'
import { description } from '../fixtures/app/openapi.ts'
import { inDays } from '../fixtures/app/registration.ts'
import { OPERATIONS, type Operation, type Target } from './operations.ts'

/** Operations that take a JSON body. */
const withBody = OPERATIONS.filter(
  ({ method, scope }) => !['clients', 'ticket holders'].includes(scope) && ['POST', 'PUT', 'PATCH'].includes(method)
)

/** Every member that any schema of openapi.yaml has, and every column that there could be. */
const MEMBERS = [
  ...new Set(
    Object.values(description.components.schemas).flatMap(schema => Object.keys(Object(schema).properties ?? {}))
  ),
  ...['site_id', 'siteId', 'secret_hash', 'secretHash', 'name_folded', 'client_id', 'registered_at', 'expires_at'],
  ...['last_used_at', 'version', 'etag', 'id', 'clientSecret', 'client_secret', 'admin', 'role', 'sites'],
  ...['constructor', 'prototype', 'toString', 'hasOwnProperty', 'valueOf', 'then', 'toJSON', '$where', '$ref']
]

/** Members that the body of this operation may have, by openapi.yaml. */
function takenBy(operation: Operation): string[] {
  const body = Object(description.paths[operation.template]?.[operation.method.toLowerCase()]).requestBody
  const { $ref = '', properties } = Object(body?.content?.['application/json']?.schema)
  const named = description.components.schemas[String($ref).split('/').at(-1) ?? '']
  return Object.keys(properties ?? Object(named).properties ?? {})
}

/** Each operation is about a registration of its own. */
const grantd = await startApp(t)

for (const operation of withBody) {
  // [INPUT-1]
  t.test(`${operation.id} refuses every member that it does not take, and the rows stay as they are`, async t => {
    const { clientId, clientSecret, answer } = await grantd.register()
    const target: Target = { siteId: 'acme', clientId, clientSecret }
    const { path, body } = await operation.request(target, grantd)
    const good: Record<string, unknown> = body === '' ? {} : JSON.parse(body)
    const before = await dumpTables(grantd.databaseUrl)
    const taken = takenBy(operation)
    const refused = MEMBERS.filter(member => !taken.includes(member))
    t.ok(refused.length > 20)
    for (const member of refused) {
      const current = Object.hasOwn(answer.json(), member) ? answer.json()[member] : 'x'
      for (const value of [current, null, {}]) {
        const reply = await grantd.asAdmin(operation.method, path, { body: { ...good, [member]: value } })
        t.equal(reply.status, 400, `${member}: ${reply.text}`)
      }
    }
    t.same(await dumpTables(grantd.databaseUrl), before)
  })
}

// [INPUT-2]
t.test('__proto__, constructor and the like, at any depth, change nothing but the answer to 400', async t => {
  const grantd = await startApp(t)
  const { path } = await grantd.register({ name: 'as it was', enabled: true })
  const before = await dumpTables(grantd.databaseUrl)
  const base = `"name":"x","expiresAt":"${inDays(10)}"`
  for (const members of [
    '"__proto__":{"enabled":false}',
    '"\\u005f_proto__":{"enabled":false}',
    '"__proto__":null',
    '"constructor":{"prototype":{"enabled":false}}',
    '"scopes":{"__proto__":[]}',
    '"scopes":[{"__proto__":{"length":0}}]',
    '"enabled":{"__proto__":true}',
    '"prototype":{},"constructor":1'
  ]) {
    for (const [method, url] of [
      ['POST', '/v1/sites/acme/app-registrations'],
      ['PATCH', path]
    ] as const) {
      const answer = await grantd.asAdmin(method, url, { body: `{${base},${members}}` })
      t.equal(answer.status, 400, `${method} ${members}`)
    }
  }
  t.same(await dumpTables(grantd.databaseUrl), before)
  t.notOk('enabled' in {}, 'and no object of this process has it')
})
