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

const list = (count: number, item: (index: number) => string) => Array.from({ length: count }, (_, i) => item(i)).join()

t.test('a text with more than 1,000 members and items has one fault, and nothing of it is parsed', async t => {
  const tooMany = { value: undefined, faults: [{ pointer: '', code: 'too_many_values' }] }
  for (const text of [
    `[${list(32_000, () => '1')}]`,
    `{"secrets":[${list(21_000, () => '{}')}]}`,
    `{"secrets":[${list(13_000, () => 'null')}]}`,
    `{${list(6_000, index => `"m${index}":1`)}}`,
    `{${list(6_000, () => '"m":1')}}`,
    `[{${list(6_000, index => `"m${index}":1`)}}]`,
    `[${list(8_000, () => '[[]]')}]`,
    `[${list(32_000, () => '')}`
  ]) {
    t.match(parseJson(Buffer.from(text)), tooMany, text.slice(0, 30))
    t.equal(parseJson(Buffer.from(text)).faults.length, 1, text.slice(0, 30))
  }
  t.same(parseJson(Buffer.from(`[${list(1_000, () => '1')}]`)).faults, [], '1,000 pass')
  t.match(parseJson(Buffer.from(`[${list(1_001, () => '1')}]`)), tooMany)
  t.same(parseJson(Buffer.from(JSON.stringify([','.repeat(60_000)]))).faults, [], 'commas of a text do not count')
})

t.test('a string without an end is read once, wherever its quotes are', async t => {
  for (const text of [
    '"'.repeat(65_535),
    `"${'\\"'.repeat(32_000)}`,
    `{"${'\\"'.repeat(32_000)}`,
    `["${'\\\n"'.repeat(20_000)}`
  ]) {
    t.match(parseJson(Buffer.from(text)), { value: undefined, faults: [{ code: 'not_json' }] }, text.slice(0, 10))
  }
})

t.test('a pointer repeats 32 characters of a name at most, on every level', async t => {
  const name = 'n'.repeat(30_000)
  const { faults } = parseJson(Buffer.from(`{"${name}":{"${name}":{${list(400, () => '"a":1')}}}}`))
  t.equal(faults.length, 399)
  for (const { pointer } of faults) t.equal(pointer, `/${'n'.repeat(32)}.../${'n'.repeat(32)}.../a`)
})
