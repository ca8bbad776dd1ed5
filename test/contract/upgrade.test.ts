import { Ajv, type ValidateFunction } from 'ajv'
import addFormats from 'ajv-formats'
import t, { type Test } from 'tap'
import { OPERATIONS, type Operation } from '../attacks/operations.ts'
import { startApp } from '../fixtures/app/app.ts'
import type { Answer } from '../fixtures/app/grantd.ts'
import { type Document, RELEASES } from './document.ts'

/*
 * A client that was made from the openapi.yaml of an earlier release calls the service of today. `npm run test:clients`
 * does the same with the code that a generator makes.
 */

const grantd = await startApp(t)

for (const [version, document] of RELEASES) {
  const requests = validator(document)
  // Clients ignore members that they do not know. A release may add some to its answers.
  const answers = validator(withUnknownMembers(document))
  const known = OPERATIONS.filter(({ template, method }) => document.paths[template]?.[method.toLowerCase()])

  t.test(`release ${version}: its openapi.yaml has the operations that it had`, async t => {
    const all = Object.values(document.paths).flatMap(Object.values)
    t.equal(known.length, all.length)
  })

  for (const operation of known) {
    t.test(`a client of release ${version} calls ${operation.id}, and the answer is what it expects`, async t => {
      const { answer, body } = await callAsBefore(operation)
      t.equal(answer.status, operation.success, answer.text)
      const path = ['paths', operation.template, operation.method.toLowerCase()]
      if (body !== '' && body.startsWith('{')) {
        holds(t, requests([...path, 'requestBody', 'content', 'application/json', 'schema']), JSON.parse(body))
      }
      const type = String(answer.headers['content-type'] ?? '').split(';')[0] ?? ''
      if (!type.endsWith('json')) return
      const response = [...path, 'responses', String(answer.status), 'content', type, 'schema']
      holds(t, answers(response), answer.json())
    })
  }

  t.test(`control: an answer that lacks a member is not what a client of release ${version} expects`, async t => {
    const { answer } = await grantd.register()
    const template = '/v1/sites/{siteId}/app-registrations'
    const validate = answers(['paths', template, 'post', 'responses', '201', 'content', 'application/json', 'schema'])
    t.ok(validate(answer.json()))
    const { lastUsedAt: _, ...others } = answer.json()
    t.notOk(validate(others))
  })
}

/** Sends a good request for a new registration, with an administrator's token where the operation needs one. */
async function callAsBefore(operation: Operation): Promise<{ answer: Answer; body: string }> {
  const { clientId, clientSecret } = await grantd.register()
  const { path, headers, body } = await operation.request({ siteId: 'acme', clientId, clientSecret }, grantd)
  const isAdministrator = operation.scope === 'one Site' || operation.scope === 'all Sites'
  const authorization = isAdministrator ? { authorization: `Bearer ${await grantd.adminToken(['*'])}` } : {}
  const sending = { headers: { ...authorization, ...headers }, ...(body !== '' && { body }) }
  return { answer: await grantd.send(operation.method, path, sending), body }
}

function holds(t: Test, validate: ValidateFunction, value: unknown): void {
  t.ok(validate(value), JSON.stringify(validate.errors))
}

/** Returns a function that finds the validator of a schema by its place in the document. */
function validator(document: Document): (members: readonly string[]) => ValidateFunction {
  const ajv = new Ajv({ strict: false, allErrors: true })
  addFormats.default(ajv)
  ajv.addSchema(document, 'release')
  return members => {
    const pointer = members.map(member => encodeURIComponent(member.replaceAll('~', '~0').replaceAll('/', '~1')))
    const validate = ajv.getSchema(`release#/${pointer.join('/')}`)
    if (validate === undefined) throw new Error(`the document has no ${members.join(' ')}`)
    return validate
  }
}

function withUnknownMembers(document: Document): Document {
  return JSON.parse(JSON.stringify(document), (name, value) => (name === 'additionalProperties' ? undefined : value))
}
