import fc from 'fast-check'
import t from 'tap'
import { parseInstant } from '../../src/admin-api/instant.ts'
import { foldName, nameFault, normaliseName } from '../../src/registrations/name.ts'

t.test('a name is trimmed, NFC, 1 to 100 code points, and shows all it has', async t => {
  t.equal(normaliseName('\u00a0  Cafe\u0301 \u3000'), 'Caf\u00e9')
  for (const name of ['x', '=cmd|x', '<img onerror>', '100 % _done_', '日本語', '👍'.repeat(100), '"quoted"']) {
    t.equal(nameFault(name), undefined, name)
  }
  t.match(nameFault('\ufe0f'), { code: 'invalid_character' }, 'a variation selector alone')
  t.match(nameFault(''), { pointer: '/name', code: 'invalid_length' })
  t.match(nameFault('x'.repeat(101)), { code: 'invalid_length' })
  for (const [what, character] of [
    ['NUL', '\0'],
    ['line feed', '\n'],
    ['escape', '\u001b'],
    ['next line', '\u0085'],
    ['right-to-left override', '\u202e'],
    ['left-to-right isolate', '\u2066'],
    ['zero-width space', '\u200b'],
    ['zero-width joiner', '\u200d'],
    ['byte order mark', '\ufeff'],
    ['lone high surrogate', '\ud800'],
    ['lone low surrogate', '\udc00'],
    ['line separator', '\u2028'],
    ['Hangul filler', '\u3164'],
    ['blank Braille', '\u2800'],
    ['a noncharacter', '\ufffe']
  ] as const) {
    for (const name of [`a${character}b`, `${character}a`, `a ${character} `]) {
      t.match(nameFault(normaliseName(name)), { code: 'invalid_character' }, what)
    }
  }
})

t.test('names sort and are found without regard to case and accents', async t => {
  t.equal(foldName('Ébène'), foldName('EBENE'))
  t.equal(foldName('ﬁle'), 'file')
})

t.test(
  'no text makes reading an instant or a name throw, and a name that was read once reads the same again',
  async () => {
    const text = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.string({ unit: 'grapheme' }),
      fc.stringMatching(/^[0-9]{1,5}-[0-9]{1,2}-[0-9]{1,2}[Tt ][0-9:.]{1,12}([Zz]|[+-][0-9:]{1,5})$/)
    )
    fc.assert(
      fc.property(text, input => {
        const time = parseInstant(input)
        const name = normaliseName(input)
        const isStable = normaliseName(name) === name && foldName(foldName(name)) === foldName(name)
        return (
          isStable &&
          nameFault(name)?.pointer !== '' &&
          (Number.isNaN(time) || time === Date.parse(input.toUpperCase()))
        )
      }),
      { numRuns: 2_000 }
    )
  }
)
