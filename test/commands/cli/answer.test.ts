import t from 'tap'
import { listIn, printed, refusal, table } from '../../../src/commands/cli/answer.ts'
import { readOperations } from '../../../src/commands/cli/description.ts'

const operations = readOperations()
const NOT_GRANTD = 'grantd does not answer like this. GRANTD_URL may name another service or port.'
const listOf = (id: string) => listIn(operations.find(operation => operation.id === id)?.answer)

t.test('an answer with a list of objects is a list, and a registration with its scopes is none', async t => {
  t.equal(listOf('listAppRegistrations')?.name, 'items')
  t.equal(listOf('getJwks')?.name, 'keys')
  for (const id of ['getAppRegistration', 'createAppRegistration', 'getMetadata', 'deleteAppRegistration']) {
    t.equal(listOf(id), undefined, id)
  }
})

t.test('a table has a line for each item and a column for each member that is no object', async t => {
  const item = {
    properties: {
      ...{ name: { type: 'string' }, scopes: { type: 'array', items: { type: 'string' } } },
      ...{ count: { type: 'integer' }, credential: { type: 'object' }, either: { oneOf: [] } }
    }
  }
  const items = [
    { name: 'Device sync', scopes: ['a', 'b'], count: 10, credential: { kind: 'secret' } },
    { name: 'Ü', scopes: [], count: null }
  ]
  t.equal(
    table(items, item),
    ['name         scopes  count', 'Device sync  a b     10', 'Ü            -       -'].join('\n')
  )
  t.equal(table(items, item, ['credential', 'name']).split('\n')[1], '{"kind":"secret"}  Device sync')
  t.equal(table([], item), 'name  scopes  count')
})

t.test('nothing of an answer can command the terminal or change the order of its text', async t => {
  const name = 'a\u001b[2J\u009b1m\u202eb'
  const safe = 'a\ufffd[2J\ufffd1m\ufffdb'
  t.equal(table([{ name }], { properties: { name: { type: 'string' } } }), `name\n${safe}`)
  t.same(JSON.parse(printed({ name })), { name })
  t.notMatch(printed({ name }), /(?!\n)[\p{Cc}\p{Bidi_Control}]/u)
  t.equal(printed(`${name}\n`), safe)
  t.equal(refusal({ status: 400, headers: new Headers(), body: { code: 'x', detail: name } }), `400 x: ${safe}`)
})

t.test('a refusal shows status, code, explanation, each fault and the time to wait', async t => {
  const body = {
    code: 'invalid_request',
    detail: 'It has faults.',
    errors: [{ pointer: '/name', detail: 'is required' }]
  }
  t.equal(
    refusal({ status: 400, headers: new Headers(), body }),
    '400 invalid_request: It has faults.\n  /name: is required'
  )
  const oauth = { error: 'slow_down', error_description: 'Too many.' }
  t.equal(
    refusal({ status: 429, headers: new Headers({ 'retry-after': '7' }), body: oauth }),
    '429 slow_down: Too many.\nTry again after 7 s.'
  )
  t.equal(
    refusal({ status: 502, headers: new Headers(), body: '<html>' }),
    `502 unexpected answer: <html>\n${NOT_GRANTD}`
  )
  const metrics = { status: 404, headers: new Headers(), body: { error: 'not_found' } }
  t.equal(refusal(metrics), `404 not_found: {"error":"not_found"}\n${NOT_GRANTD}`)
})
