import { readFileSync } from 'node:fs'
import t, { type Test } from 'tap'
import { describeApi, OPENAPI_FILE } from '../tools/openapi.ts'
import { description } from './fixtures/app/openapi.ts'

// [BUILD-1]
t.test('openapi.yaml is what the routes say; "npm run openapi" writes it', async t => {
  t.equal(readFileSync(OPENAPI_FILE, 'utf8'), await describeApi())
})

t.test('every operation has an id of its own, a summary, and says what each status means', async t => {
  const operations = Object.values(description.paths).flatMap(Object.values)
  t.ok(operations.length >= 11)
  t.equal(new Set(operations.map(({ operationId }) => operationId)).size, operations.length)
  for (const operation of operations) {
    t.match(operation.operationId, /^[a-z][A-Za-z]+$/)
    t.match(operation.summary, /\w/)
    for (const response of Object.values(operation.responses)) t.match(Object(response).description, /\w/)
  }
})

t.test('every field is described', async t => {
  for (const [name, schema] of Object.entries(description.components.schemas)) undescribed(t, name, schema)
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
