import fc from 'fast-check'
import t from 'tap'
import { audienceFaults, comparableAudience } from '../../src/registrations/audience.ts'

const faultsOf = (...audiences: string[]) => audienceFaults(audiences).map(({ pointer, code }) => `${pointer} ${code}`)

t.test('an audience is an absolute URI without fragment and user information (RFC 8707 §2)', async t => {
  for (const audience of [
    'https://api.example',
    'https://api.example/',
    'https://API.example:8443/a/b?c=d&e=%2F',
    'https://[2001:db8::1]:443/',
    'https://api.example/who@where',
    'http://localhost:3000',
    'urn:example:devices',
    'api://default',
    'spiffe://example.org/ns/devices',
    'com.example.devices:api'
  ]) {
    t.same(faultsOf('https://first.example', audience), [], audience)
  }
  for (const audience of [
    'https://api.example#top',
    'urn:example:devices#',
    'https://ada@api.example',
    'https://ada:secret@api.example/x',
    'https://',
    'https:///path',
    'https:api.example',
    'https:/api.example',
    'https://api.example:99999',
    'https://api.example/%zz',
    'https://api.example/a|b',
    'https://api.example/<a>',
    'https://api\\example',
    'urn:',
    ':devices',
    '1urn:devices',
    '//api.example:80/'
  ]) {
    t.same(faultsOf(audience), ['/audiences/0 invalid_value'], audience)
  }
})

t.test('a plain name without ":" can stand in the first place only, because "resource" selects by URI', async t => {
  t.same(faultsOf('devices', 'https://a.example'), [])
  t.same(faultsOf('devices/v1#beta'), [], 'any visible ASCII')
  t.same(faultsOf('https://a.example', 'devices', 'billing'), [
    '/audiences/1 invalid_value',
    '/audiences/2 invalid_value'
  ])
})

t.test('audiences that differ only by an empty path against "/" are the same (RFC 3986 §6.2.3)', async t => {
  for (const [one, other] of [
    ['https://a.example', 'https://a.example/'],
    ['https://a.example?x=1', 'https://a.example/?x=1'],
    ['api://default', 'api://default/'],
    ['devices', 'devices'],
    ['urn:a:b', 'urn:a:b']
  ] as const) {
    t.equal(comparableAudience(one), comparableAudience(other))
    t.match(faultsOf(one, 'https://between.example', other), [/^\/audiences\/2 (duplicate|invalid_value)$/])
    t.ok(faultsOf(other, one).includes('/audiences/1 duplicate'))
  }
  for (const [one, other] of [
    ['https://a.example', 'https://A.example'],
    ['https://a.example', 'HTTPS://a.example'],
    ['https://a.example', 'https://a.example:443'],
    ['https://a.example/api', 'https://a.example/api/'],
    ['https://a.example/', 'https://a.example//'],
    ['https://a.example', 'https://a.example?'],
    ['urn:a', 'urn:a/']
  ] as const) {
    t.not(comparableAudience(one), comparableAudience(other), `${one} ${other}`)
    t.same(faultsOf(one, other), [])
  }
})

t.test('every faulty audience is listed, with the place of the one that it repeats', async t => {
  const faults = audienceFaults([
    'devices',
    'https://a.example',
    'billing',
    'https://a.example/',
    'https://a.example#x'
  ])
  t.same(
    faults.map(({ pointer, code }) => `${pointer} ${code}`),
    ['/audiences/2 invalid_value', '/audiences/3 duplicate', '/audiences/4 invalid_value']
  )
  t.match(faults[1], { detail: /same as \/audiences\/1/ })
})

t.test('any text is compared and judged without an error, and normalising twice changes nothing', async () => {
  const ascii = fc.string({ unit: fc.integer({ min: 0x21, max: 0x7e }).map(code => String.fromCharCode(code)) })
  const uriLike = fc.tuple(ascii, ascii).map(([one, other]) => `https://${one}/${other}`)
  fc.assert(
    fc.property(fc.array(fc.oneof(ascii, uriLike), { maxLength: 10 }), audiences => {
      audienceFaults(audiences)
      for (const audience of audiences) {
        const form = comparableAudience(audience)
        if (form !== comparableAudience(form)) throw new Error(audience)
      }
    }),
    { numRuns: 2_000 }
  )
})
