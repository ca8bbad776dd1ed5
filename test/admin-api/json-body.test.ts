import fc from 'fast-check'
import t from 'tap'
import { parseJson } from '../../src/admin-api/json-body.ts'

t.test('every JSON value without duplicate names, at most 16 levels deep, reads as JSON.parse reads it', async t => {
  fc.assert(
    fc.property(fc.jsonValue({ maxDepth: 12 }), value => {
      const text = JSON.stringify(value)
      // A name of this text is refused, and JSON.stringify writes -0 as 0.
      if (text.includes('"__proto__"')) return true
      return t.strictSame(parseJson(Buffer.from(text)), { value: JSON.parse(text), faults: [] })
    })
  )
})

// [INPUT-11]
t.test('bytes of any kind are read or have faults, and nothing is thrown', async () => {
  const bytes = fc.oneof(
    fc.uint8Array({ maxLength: 200 }).map(array => Buffer.from(array)),
    fc.stringMatching(/^[{}[\]",:\\u0a ]*$/).map(text => Buffer.from(text))
  )
  fc.assert(
    fc.property(bytes, input => {
      const { value, faults } = parseJson(input)
      return value !== undefined || faults.length > 0
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
    t.match(parseJson(Buffer.from(text)).faults, [{ code: 'duplicate_member', pointer }])
  }
  const { value, faults } = parseJson(Buffer.from('{"a":{"b":1},"c":{"b":2},"d":["a","a"],"e":"\\"a\\":"}'))
  t.same(value, { a: { b: 1 }, c: { b: 2 }, d: ['a', 'a'], e: '"a":' })
  t.same(faults, [])
})

t.test('16 levels pass, 17 do not', async t => {
  const nested = (levels: number) => Buffer.from(`${'[{"a":'.repeat(levels / 2)}1${'}]'.repeat(levels / 2)}`)
  t.same(parseJson(nested(16)).faults, [])
  t.match(parseJson(nested(18)), { value: undefined, faults: [{ code: 'too_deep' }] })
  t.match(parseJson(Buffer.from(`${'['.repeat(17)}${']'.repeat(17)}`)).faults, [{ code: 'too_deep' }])
})
