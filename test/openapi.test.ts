import { readFileSync } from 'node:fs'
import t, { type Test } from 'tap'
import { describeApi, OPENAPI_FILE } from '../tools/openapi.ts'
import { description } from './fixtures/app/openapi.ts'

// [BUILD-1]
t.test('openapi.yaml is what npm run openapi writes from the routes', async t => {
  t.equal(readFileSync(OPENAPI_FILE, 'utf8'), await describeApi())
})

t.test('every operation has a unique id, a summary, and a description of each status', async t => {
  const operations = Object.values(description.paths).flatMap(Object.values)
  t.ok(operations.length >= 11)
  t.equal(new Set(operations.map(({ operationId }) => operationId)).size, operations.length)
  for (const operation of operations) {
    t.match(operation.operationId, /^[a-z][A-Za-z]+$/)
    t.match(operation.summary, /\w/)
    for (const response of Object.values(operation.responses)) t.match(Object(response).description, /\w/)
  }
})

t.test('every operation declares what the server can answer to any request', async t => {
  for (const [path, operations] of Object.entries(description.paths)) {
    for (const [method, { responses }] of Object.entries(operations)) {
      for (const status of ['400', '408', '431', '500']) t.ok(responses[status], `${method} ${path} ${status}`)
    }
  }
})

t.test('openapi.yaml has no extensions, which many generators do not know', async t => {
  t.notMatch(readFileSync(OPENAPI_FILE, 'utf8'), /^ *x-/m)
})

t.test('every field is described', async t => {
  for (const [name, schema] of Object.entries(description.components.schemas)) undescribed(t, name, schema)
})

t.test('every schema has a type, because one without becomes "any" or breaks a client generator', async t => {
  const untyped: string[] = []
  const visit = (where: string, node: unknown): void => {
    if (typeof node !== 'object' || node === null) return
    for (const [key, value] of Object.entries(node)) {
      const isSchema = key === 'schema' || key === 'items' || /\.(schemas|properties)$/.test(where)
      const { $ref, type, oneOf, anyOf, allOf } = Object(value)
      if (isSchema && [$ref, type, oneOf, anyOf, allOf].every(part => part === undefined))
        untyped.push(`${where}.${key}`)
      visit(`${where}.${key}`, value)
    }
  }
  visit('', description.paths)
  visit('.components', description.components)
  t.same(untyped, [])
})

t.test('every path parameter has an example', async t => {
  for (const [path, operations] of Object.entries(description.paths)) {
    for (const operation of Object.values(operations)) {
      for (const { in: place, name, example, schema } of operation.parameters ?? []) {
        if (place === 'path') t.ok(example ?? Object(schema).example, `${path} ${name}`)
      }
    }
  }
})

/** A reference is described where it leads. */
function undescribed(t: Test, where: string, schema: unknown): void {
  const { $ref, description: text, properties = {}, items } = Object(schema)
  if ($ref !== undefined) return
  t.match(text, /\w/, where)
  for (const [name, property] of Object.entries(properties)) undescribed(t, `${where}.${name}`, property)
  if (items !== undefined && items.properties !== undefined) {
    for (const [name, property] of Object.entries(items.properties)) undescribed(t, `${where}[].${name}`, property)
  }
}

t.test('each OAuth endpoint declares the errors that it can answer, and none of another endpoint', async t => {
  const described = (path: string, status: string): string =>
    Object(description.paths[path]?.['post']?.responses[status]).description
  for (const path of ['/oauth/introspect', '/oauth/revoke', '/oauth/secret']) {
    t.notMatch(described(path, '400'), /unsupported_grant_type|invalid_scope|invalid_target|invalid_dpop_proof/, path)
  }
  t.match(described('/oauth/token', '400'), /invalid_target/)
  for (const path of ['/oauth/introspect', '/oauth/revoke', '/oauth/token'])
    t.notMatch(described(path, '429'), /rotation/)
  t.match(described('/oauth/secret', '429'), /rotation within an hour/)
})
