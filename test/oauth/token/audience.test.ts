import fc from 'fast-check'
import t from 'tap'
import { REPEATED } from '../../../src/oauth/form.ts'
import { decideAudience, requireAudience } from '../../../src/oauth/token/audience.ts'
import { caught } from '../../fixtures/run/caught.ts'

const A = 'https://a.example'
const B = 'https://b.example/api'
const DEFAULT = 'https://default.example'

const grant = (requested: string | undefined, registered: readonly string[], fallback = DEFAULT): string =>
  requireAudience(decideAudience(requested, registered, fallback))

const refusalOf = (requested: string, registered: readonly string[], fallback = DEFAULT): unknown =>
  caught(() => grant(requested, registered, fallback))

t.test('without resource, the audience is the first that is registered, else the default (RFC 9068 §3)', async t => {
  t.equal(grant(undefined, []), DEFAULT)
  t.equal(grant(undefined, [A, B]), A)
  t.equal(grant(undefined, ['plain', B]), 'plain')
  t.equal(grant(undefined, [], 'any text'), 'any text')
})

t.test('a registered resource is granted as it is registered (RFC 8707 §2.2)', async t => {
  t.equal(grant(B, [A, B]), B)
  t.equal(grant(B, ['plain', B]), B)
  t.equal(grant('urn:example:api', ['urn:example:api']), 'urn:example:api')
  for (const [requested, registered] of [
    ['https://a.example/', 'https://a.example'],
    ['https://a.example', 'https://a.example/'],
    ['https://a.example:8443/?x=1', 'https://a.example:8443?x=1']
  ] as const) {
    t.equal(grant(requested, [B, registered]), registered, `${requested} asks for ${registered}`)
  }
})

t.test('nothing but an empty path is normalised (RFC 3986 §6.2.3)', async t => {
  for (const [requested, registered] of [
    ['https://A.example', 'https://a.example'],
    ['HTTPS://a.example', 'https://a.example'],
    ['https://a.example:443', 'https://a.example'],
    ['https://a.example/api/', 'https://a.example/api'],
    ['https://a.example/api', 'https://a.example/api/'],
    ['https://a.example/%61', 'https://a.example/a'],
    ['https://a.example/./', 'https://a.example/'],
    ['https://a.example?', 'https://a.example'],
    ['https://a.example//', 'https://a.example'],
    ['https://a.example.', 'https://a.example'],
    ['https://a.example/api', 'https://a.example'],
    ['https://a.exampl', 'https://a.example'],
    ['urn:example:api/', 'urn:example:api']
  ] as const) {
    t.match(refusalOf(requested, [registered]), { reason: 'resource_not_allowed' }, `${requested}, ${registered}`)
  }
})

t.test('without registered audiences, only the default can be requested', async t => {
  t.equal(grant(DEFAULT, []), DEFAULT)
  t.equal(grant(`${DEFAULT}/`, []), DEFAULT)
  t.match(refusalOf(A, []), { reason: 'resource_not_allowed' })
  t.match(refusalOf(DEFAULT, [A]), { reason: 'resource_not_allowed' }, 'the default of others')
  t.match(refusalOf('plain', [], 'plain'), { reason: 'malformed_resource' }, 'resource is a URI (RFC 8707 §2)')
})

t.test('every other resource is 400 invalid_target, with a reason for the log (RFC 8707 §2)', async t => {
  const long = `https://a.example/${'x'.repeat(512)}`
  for (const [reason, requested] of [
    ['repeated_resource', REPEATED],
    ['resource_not_allowed', 'https://c.example'],
    ['resource_not_allowed', long.slice(0, 512)],
    ['malformed_resource', long.slice(0, 513)],
    ['malformed_resource', 'plain'],
    ['malformed_resource', '/api'],
    ['malformed_resource', '//a.example'],
    ['malformed_resource', 'a.example'],
    ['malformed_resource', `${A}#x`],
    ['malformed_resource', `${A}#`],
    ['malformed_resource', `${A} ${B}`],
    ['malformed_resource', ` ${A}`],
    ['malformed_resource', `${A}\n`],
    ['malformed_resource', 'https://é.example'],
    ['malformed_resource', 'https:'],
    ['malformed_resource', ':'],
    ['malformed_resource', '1https://a.example']
  ] as const) {
    const error = refusalOf(requested, ['plain', A, long, `${A}#x`])
    t.match(error, { status: 400, code: 'invalid_target', reason }, JSON.stringify(requested))
    t.match(Object(error).message, /^[\x20\x21\x23-\x5B\x5D-\x7E]{20,}$/, 'in the characters of RFC 6749 §5.2')
  }
})

t.test('no text is granted without being registered, or causes another error than invalid_target', async () => {
  const uri = fc.oneof(fc.webUrl({ withQueryParameters: true }), fc.constantFrom(A, `${A}/`, B, 'plain', 'urn:a:b'))
  const text = fc.oneof(uri, fc.string({ unit: 'binary' }), fc.constant(REPEATED))
  fc.assert(
    fc.property(text, fc.uniqueArray(uri, { maxLength: 10 }), (requested, registered) => {
      const decision = decideAudience(requested, registered, DEFAULT)
      if ('fault' in decision) return Object(caught(() => requireAudience(decision))).code === 'invalid_target'
      const isSame =
        [decision.granted, `${decision.granted}/`].includes(requested) || `${requested}/` === decision.granted
      const isRegistered =
        registered.length === 0 ? decision.granted === DEFAULT : registered.includes(decision.granted)
      return isRegistered && (isSame || requested.replace('/?', '?') === decision.granted.replace('/?', '?'))
    }),
    { numRuns: 2_000 }
  )
})
