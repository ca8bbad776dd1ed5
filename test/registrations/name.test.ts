import fc from 'fast-check'
import t from 'tap'
import { parseInstant } from '../../src/admin-api/instant.ts'
import { foldName, nameFault, normaliseName } from '../../src/registrations/name.ts'

t.test('a name is trimmed, in NFC, has 1 to 100 code points, and hides no character', async t => {
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
    ['zero-width non-joiner', '\u200c'],
    ['tag character', '\u{e0067}'],
    ['byte order mark', '\ufeff'],
    ['Khmer vowel inherent', '\u17b4'],
    ['Mongolian variation selector', '\u180b'],
    ['variation selector after a letter', '\ufe0e'],
    ['ideographic variation selector after a letter', '\u{e0100}'],
    ['unassigned, default ignorable', '\u2065'],
    ['musical null notehead', '\u{1d159}'],
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

t.test('joiners are allowed where scripts and emoji need them (RFC 5892 appendix A, RFC 8264 §9.8)', async t => {
  for (const [what, name] of [
    ['Persian, non-joiner between joining letters', '\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645'],
    ['Sinhala, joiner after the virama', '\u0dc1\u0dca\u200d\u0dbb\u0dd3'],
    ['Devanagari, both joiners after the virama', '\u0915\u094d\u200d\u0937 \u0915\u094d\u200c\u0937'],
    ['woman technologist', '\u{1f469}\u200d\u{1f4bb}'],
    ['family', '\u{1f468}\u200d\u{1f469}\u200d\u{1f467}'],
    ['heart on fire, without a variation selector', '\u2764\u200d\u{1f525}'],
    ['heart as an emoji', '\u2764\ufe0f'],
    ['a Han character in another shape', '\u8fbb\u{e0100}'],
    ['rainbow flag', '\u{1f3f3}\ufe0f\u200d\u{1f308}'],
    ['flag of Scotland', '\u{1f3f4}\u{e0067}\u{e0062}\u{e0073}\u{e0063}\u{e0074}\u{e007f}'],
    ['flag of Poland', '\u{1f1f5}\u{1f1f1}'],
    ['keycap', '1\ufe0f\u20e3']
  ] as const) {
    for (const padded of [name, `a ${name}`, `${name} b`]) t.equal(nameFault(normaliseName(padded)), undefined, what)
  }
  for (const [what, name] of [
    ['between Latin letters', 'a\u200db'],
    ['with an override', 'pay\u202ee'],
    ['after an Arabic letter that does not join', '\u0627\u200c\u0645'],
    ['before a Latin letter', '\u0645\u200cb'],
    ['between Arabic letters, but the joiner', '\u0645\u200d\u0645'],
    ['twice', '\u0645\u200c\u200c\u0645'],
    ['after an emoji', '\u{1f469}\u200d'],
    ['between an emoji and a letter', '\u{1f469}\u200da'],
    ['a flag that does not exist', '\u{1f3f4}\u{e0061}\u{e0061}\u{e007f}'],
    ['a flag without its end', '\u{1f3f4}\u{e0067}\u{e0062}\u{e0073}\u{e0063}\u{e0074}']
  ] as const) {
    t.match(nameFault(normaliseName(name)), { code: 'invalid_character' }, what)
  }
  t.equal(foldName('\u0645\u06cc\u200c\u062e'), foldName('\u0645\u06cc\u062e'), 'a search needs no joiner')
})

t.test('a name of any length takes linear time', async t => {
  for (const piece of [' ', 'a', '\u0301\u0323', '\u200d', '\u{1f469}\u200d', '\u0645\u200c', '\u0dca']) {
    const text = (length: number) => `a${piece.repeat(length / piece.length)}b`
    const judge = (length: number) => {
      const start = performance.now()
      nameFault(normaliseName(text(length)))
      return performance.now() - start
    }
    const growth = Math.min(...[1, 2, 3].map(() => judge(64_000) / Math.max(judge(16_000), 1)))
    t.ok(growth < 8, `${JSON.stringify(piece)}: 4 times as long takes ${growth.toFixed(1)} times as long`)
    t.match(nameFault(normaliseName(text(16_000))), { code: 'invalid_length' })
  }
})

t.test('names sort and are found without regard to case and accents', async t => {
  t.equal(foldName('Ébène'), foldName('EBENE'))
  t.equal(foldName('ﬁle'), 'file')
})

t.test(
  'any text can be read as an instant or a name without an error, and a normalised name stays the same',
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
