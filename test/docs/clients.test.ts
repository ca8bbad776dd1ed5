import { readFileSync } from 'node:fs'
import path from 'node:path'
import t from 'tap'
import { description } from '../fixtures/app/openapi.ts'
import { ROOT } from '../fixtures/run/paths.ts'
import { blockBelow, LANGUAGES } from '../guides/program.ts'

const page = readFileSync(path.join(ROOT, 'docs/clients.md'), 'utf8')

t.test('docs/clients.md has a program in each language, which npm run test:guides runs', async t => {
  for (const [name, { block }] of Object.entries(LANGUAGES)) t.ok(blockBelow(name, block), name)
  t.throws(() => blockBelow('COBOL', 'cobol'))
})

const operations = new Map(
  Object.values(description.paths)
    .flatMap(Object.values)
    .map(operation => [operation.operationId, operation])
)

/** Returns the names of all parameters, headers and members that an operation has, at any depth. */
function namesIn(node: unknown, seen = new Set<unknown>()): string[] {
  if (typeof node !== 'object' || node === null || seen.has(node)) return []
  seen.add(node)
  const { $ref, properties = {}, headers = {}, name } = Object(node)
  const named =
    $ref === undefined ? [] : namesIn(description.components.schemas[String($ref).split('/').at(-1) ?? ''], seen)
  return [
    ...(typeof name === 'string' ? [name] : []),
    ...Object.keys(properties),
    ...Object.keys(headers),
    ...named,
    ...Object.values(node).flatMap(value => namesIn(value, seen))
  ]
}

t.test('the screens of an admin UI name calls and fields that openapi.yaml has', async t => {
  const [, table = ''] = page.split('| screen | calls | fields and parameters |')
  const rows = [...table.matchAll(/^\| (.+?) \| (.+?) \| (.+) \|$/gm)]
  t.ok(rows.length > 12)
  const words = (text = '') => [...text.matchAll(/`(\w[\w-]*)`/g)].map(([, word = '']) => word)
  let calls: string[] = []
  for (const [, screen = '', callCell, fields] of rows) {
    if (callCell !== 'the same') calls = words(callCell)
    t.ok(calls.length > 0, screen)
    for (const call of calls) t.ok(operations.has(call), call)
    const known = new Set(calls.flatMap(call => namesIn(operations.get(call))))
    for (const field of words(fields)) t.ok(known.has(field), `${screen}: ${field}`)
  }
})
