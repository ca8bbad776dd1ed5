import fc from 'fast-check'
import t from 'tap'
import { parseJson } from '../../src/admin-api/json-body.ts'
import { Problem } from '../../src/http/problem.ts'
import { caught } from '../fixtures/run/caught.ts'

t.test('every JSON value without duplicate names, at most 16 levels deep, reads as JSON.parse reads it', async t => {
  fc.assert(
    fc.property(fc.jsonValue({ maxDepth: 12 }), value => {
      const text = JSON.stringify(value)
      // A name of this text is refused, and JSON.stringify writes -0 as 0.
      if (text.includes('"__proto__"')) return true
      return t.strictSame(parseJson(Buffer.from(text)), JSON.parse(text))
    })
  )
})

// [INPUT-11]
t.test('no bytes make it throw anything but a problem', async () => {
  const bytes = fc.oneof(
    fc.uint8Array({ maxLength: 200 }).map(array => Buffer.from(array)),
    fc.stringMatching(/^[{}[\]",:\\u0a ]*$/).map(text => Buffer.from(text))
  )
  fc.assert(
    fc.property(bytes, input => {
      const error = caught(() => parseJson(input))
      return error === undefined || (error instanceof Problem && error.status === 400)
    }),
    { numRuns: 5_000 }
  )
})

t.test('a duplicate name is refused however it is spelt, and the pointer names it', async t => {
  for (const [text, pointer] of [
    ['{"a":1,"a":1}', '/a'],
    ['{"a":1,"\\u0061":2}', '/a'],
    ['{"x":[0,{"b":{},"c":"}","b":2}]}', '/x/1/b'],
    ['{"a/b~c":1,"a/b~c":2}', '/a~1b~0c'],
    ['{"":1,"":2}', '/']
  ] as const) {
    t.match(
      caught(() => parseJson(Buffer.from(text))),
      { status: 400, faults: [{ code: 'duplicate_member', pointer }] }
    )
  }
  t.same(parseJson(Buffer.from('{"a":{"b":1},"c":{"b":2},"d":["a","a"],"e":"\\"a\\":"}')), {
    a: { b: 1 },
    c: { b: 2 },
    d: ['a', 'a'],
    e: '"a":'
  })
})

t.test('16 levels pass, 17 do not', async t => {
  const nested = (levels: number) => Buffer.from(`${'[{"a":'.repeat(levels / 2)}1${'}]'.repeat(levels / 2)}`)
  t.ok(parseJson(nested(16)))
  t.match(
    caught(() => parseJson(nested(18))),
    { faults: [{ code: 'too_deep' }] }
  )
  t.match(
    caught(() => parseJson(Buffer.from(`${'['.repeat(17)}${']'.repeat(17)}`))),
    { faults: [{ code: 'too_deep' }] }
  )
})
