import { randomBytes } from 'node:crypto'
import t from 'tap'
import { readYaml } from '../../src/commands/yaml.ts'

t.test('YAML and JSON are read alike, and an instant and "yes" are text', async t => {
  const value = { name: 'yes', expiresAt: '2027-11-27T08:00:00Z', scopes: ['a'], mayIdle: true, count: 3 }
  t.same(readYaml(JSON.stringify(value)), value)
  t.same(readYaml('name: yes\nexpiresAt: 2027-11-27T08:00:00Z\nscopes: [a]\nmayIdle: true\ncount: 3\n'), value)
})

t.test('a fault names line, column and reason, and repeats nothing of the text', async t => {
  for (const [text, message] of [
    ['a: CANARY\n b: CANARY', /^line 1, column 4: a mapping or list cannot begin here/],
    ['a: [CANARY', /^line 1, column 11: /],
    ['a: "CANARY', /^line 1, column 11: a character is missing/],
    ['a: "\\qCANARY"', /^line 1, column 5: the escape in a quoted text is unknown$/],
    ['a: !CANARY b', /^line 1, column 4: the tag is unknown/],
    ['%CANARY\n---\na: 1', /^line 1, column 1: the directive is unknown/],
    ['a: |CANARY\n  b', /^line 1, column \d+: this is not expected here/],
    ['a: `CANARY', /^line 1, column 4: a text that begins with this character must be in quotes$/],
    ['a: @CANARY', /^line 1, column 4: a text that begins/],
    ['a: b\n\tc: CANARY', /^line 2, column 1: /],
    ['a: *CANARY', /^an alias names an anchor that is not before it/],
    ['a: b\n<<: *CANARY', /^line 2, column 1: merge keys \("<<"\) are not read, so write the members out$/],
    ['CANARY: 1\nCANARY: 2', /^line 2, column 1: the key is there already$/],
    ['{"secret":"CANARY"}\n{"secret":"CANARY"}', /^line 2, column 1: /],
    ['a: CANARY\n---\na: CANARY', /^line 2, column 1: a second document begins here, and only one is read$/]
  ] as const) {
    t.throws(() => readYaml(text), { name: 'YamlError', message }, text)
    t.throws(() => readYaml(text), { message: /^((?!CANARY|YAML\.)[\s\S])*$/ }, text)
  }
})

t.test('ten faults are shown at most, also of a file that is no text', async t => {
  const shown = (text: string) => {
    try {
      readYaml(text)
    } catch (error) {
      return error instanceof Error ? error.message.split('\n') : []
    }
    return []
  }
  const faults = shown(Array.from({ length: 1000 }, () => 'a: `x').join('\n'))
  t.equal(faults.length, 11)
  t.match(faults.at(-1), /^and \d+ more$/)
  const binary = shown(`a: [\n${randomBytes(20_000).toString('latin1')}`)
  t.ok(binary.length > 0 && binary.join('').length < 2_000)
})
