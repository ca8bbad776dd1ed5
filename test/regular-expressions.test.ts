import { globSync, readFileSync } from 'node:fs'
import path from 'node:path'
import t from 'tap'
import { ROOT } from './fixtures/run/paths.ts'

const SRC = path.join(ROOT, 'src')

/** Where an expression may begin, then a literal. */
const LITERALS = /(?<=[=(,:[!&|?;]\s*|return )\/(?![*/\s])((?:[^\\/[\n]|\\.|\[(?:[^\\\]\n]|\\.)*\])+)\/([dgimsuvy]*)/g
/** Patterns of schemas, which ajv compiles. */
const SCHEMA_PATTERNS = /(?:pattern: |_PATTERN = )'((?:[^'\\]|\\.)+)'/g

interface Expression {
  where: string
  expression: RegExp
}

function expressionsOf(where: string, text: string): Expression[] {
  const code = text.replaceAll(/\/\*[\s\S]*?\*\/|^\s*\/\/.*$/gm, '')
  const literals = [...code.matchAll(LITERALS)].map(([, source = '', flags]) => new RegExp(source, flags))
  const patterns = [...code.matchAll(SCHEMA_PATTERNS)].map(
    ([, pattern = '']) => new RegExp(JSON.parse(`"${pattern}"`), 'u')
  )
  return [...literals, ...patterns].map(expression => ({ where, expression }))
}

/** Pieces that a text can be pumped up with: every kind of character that the expressions name, alone and in pairs. */
function pumpsOf({ source }: RegExp): string[] {
  const own = source.replaceAll(/\\[pP]\{[^}]*\}|\\u\{?[0-9A-Fa-f]+\}?|\\./g, '').match(/[\w ./:;,="'@%+~-]/g) ?? []
  const singles = [
    ...new Set([
      ...own,
      ' ',
      '\t',
      'a',
      'Z',
      '0',
      '1',
      '-',
      '_',
      '.',
      '/',
      '"',
      '\\',
      '\u00e9',
      '\u0301',
      '\u00a0',
      '\u200d',
      '\u{1f468}'
    ])
  ]
  const pairs = singles.slice(0, 5).flatMap(one => singles.slice(0, 5).map(other => one + other))
  return [...singles, ...pairs]
}

function millisecondsFor(expression: RegExp, text: string): number {
  const start = performance.now()
  text.replaceAll(new RegExp(expression.source, `${expression.flags.replaceAll(/[gy]/g, '')}g`), '')
  return performance.now() - start
}

const LENGTH = 2_000
/** Below this, in milliseconds, nothing is slow, and a comparison would measure noise. */
const NOTICEABLE_MS = 5

/** Returns the texts for which four times the length takes much more than four times as long. */
function slowTexts(expression: RegExp): string[] {
  const frames = [
    ['', '!'],
    ['', '\0'],
    ['a', 'b'],
    ['"', ''],
    ['Bearer ', '\n']
  ] as const
  return pumpsOf(expression).flatMap(pump =>
    frames.flatMap(([before, after]) => {
      const text = (length: number) => before + pump.repeat(length / pump.length) + after
      const long = millisecondsFor(expression, text(4 * LENGTH))
      if (long < NOTICEABLE_MS) return []
      const growth = Math.min(
        ...[1, 2, 3].map(
          () => millisecondsFor(expression, text(4 * LENGTH)) / millisecondsFor(expression, text(LENGTH))
        )
      )
      return growth > 8 ? [JSON.stringify([before, pump, after])] : []
    })
  )
}

const expressions = globSync('**/*.ts', { cwd: SRC })
  .sort()
  .flatMap(name => expressionsOf(name, readFileSync(path.join(SRC, name), 'utf8')))

// [INPUT-19]
// [LOAD-13]
t.test('every regular expression of src takes linear time, whatever the text', async t => {
  t.ok(expressions.length > 40, `${expressions.length} expressions were found`)
  for (const { where, expression } of expressions) t.same(slowTexts(expression), [], `${where}: ${expression}`)
})

t.test('the test notices an expression that takes quadratic time', async t => {
  const [trim] = expressionsOf('control', 'const OUTER_SPACES = /^\\p{Zs}+|\\p{Zs}+$/gu')
  t.ok(trim !== undefined && slowTexts(trim.expression).length > 0)
})
