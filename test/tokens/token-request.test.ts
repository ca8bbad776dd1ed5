import fc from 'fast-check'
import t from 'tap'
import { OAuthError } from '../../src/tokens/oauth-error.ts'
import { parseForm, readTokenRequest } from '../../src/tokens/token-request.ts'
import { basic } from '../fixtures/grantd.ts'

t.test('a form is read one way only', async t => {
  t.same(parseForm('a=1&b=x%20y+z&c=%C3%A9&&d=a=b'), new Map(Object.entries({ a: '1', b: 'x y z', c: 'é', d: 'a=b' })))
  t.same(parseForm(''), new Map())
  t.same(parseForm('empty=&bare'), new Map(), 'empty counts as absent')
  for (const body of ['a=1&a=1', 'a=&a=1', 'a&a', '%61=1&a=2']) t.same(parseForm(body), { fault: 'repeated' }, body)
  for (const body of ['a=%', 'a=%zz', 'a=%4', '%zz=1', 'a=%00', 'a=\0', 'a=%FF', 'a=%C3', 'a=\uFFFD', 'a=%ED%A0%80']) {
    t.same(parseForm(body), { fault: 'malformed' }, JSON.stringify(body))
  }
})

t.test('what a client encodes is what is read, whatever the text', async () => {
  const text = fc.string({ unit: 'grapheme', minLength: 1 }).filter(value => !/[\0\uFFFD]/.test(value))
  fc.assert(
    fc.property(text, value => {
      const form = parseForm(new URLSearchParams({ value }).toString())
      return form instanceof Map && form.get('value') === value
    })
  )
})

t.test('Basic credentials are form-decoded after base64 (RFC 6749 §2.3.1, Appendix B)', async t => {
  const form = parseForm('grant_type=client_credentials')
  const read = (authorization: string) => readTokenRequest(authorization, form, false)
  t.match(read(basic('id', 'secret')), { clientId: 'id', clientSecret: 'secret', usesHeader: true })
  t.match(read(basic('i%3Ad', 's%20e+c%C3%A9')), { clientId: 'i:d', clientSecret: 's e cé' })
  t.match(read(basic('id', 'a:b')), { clientSecret: 'a:b' }, 'the first colon separates')
  t.match(read(basic('id', 'secret').replace('Basic', 'bAsIc ')), { clientId: 'id' }, 'the scheme has no case')
})

t.test('no Authorization header and no body is read in two ways, or throws anything but an OAuthError', async () => {
  const authorization = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.base64String().map(text => `Basic ${text}`),
    fc.tuple(fc.string(), fc.string()).map(([id, secret]) => basic(id, secret))
  )
  const body = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc
      .array(fc.tuple(fc.constantFrom('grant_type', 'client_id', 'client_secret', 'scope', 'x'), fc.string()))
      .map(pairs => pairs.map(([name, value]) => `${name}=${encodeURIComponent(value)}`).join('&'))
      .map(text => `grant_type=client_credentials&${text}`)
  )
  const outcome = (header: string | undefined, text: string): string => {
    try {
      return JSON.stringify(readTokenRequest(header, parseForm(text), false))
    } catch (error) {
      if (error instanceof OAuthError) return `${error.status} ${error.code}`
      throw error
    }
  }
  fc.assert(
    fc.property(fc.option(authorization, { nil: undefined }), body, (header, text) => {
      const reversed = text.split('&').toReversed().join('&')
      return outcome(header, text) === outcome(header, reversed)
    }),
    { numRuns: 2_000 }
  )
})

t.test('a form that is taken is what every reader of forms would read (WHATWG URL)', async () => {
  const piece = fc.stringMatching(/^([a-c]|=|&|\+|%[0-9a-fA-F]{2}|%|é| ){0,30}$/)
  fc.assert(
    fc.property(piece, body => {
      const form = parseForm(body)
      if ('fault' in form) return true
      const others = [...new URLSearchParams(body)]
      return (
        new Set(others.map(([name]) => name)).size === others.length &&
        others.every(([name, value]) => (form.get(name) ?? '') === value) &&
        [...form].every(([name, value]) => value !== '' && others.some(([other]) => other === name))
      )
    }),
    { numRuns: 5_000 }
  )
})

t.test('Basic credentials that are taken read the same when they are written anew', async () => {
  const form = parseForm('grant_type=client_credentials')
  const part = fc.stringMatching(/^([a-c]|:|\+|%[0-9a-fA-F]{2}|é| ){0,12}$/)
  fc.assert(
    fc.property(part, part, (id, secret) => {
      let read: { clientId: string; clientSecret: string }
      try {
        read = readTokenRequest(basic(id, secret), form, false)
      } catch (error) {
        return error instanceof OAuthError && error.status === 401
      }
      const again = basic(encodeURIComponent(read.clientId), encodeURIComponent(read.clientSecret))
      const { clientId, clientSecret } = readTokenRequest(again, form, false)
      return clientId === read.clientId && clientSecret === read.clientSecret
    }),
    { numRuns: 3_000 }
  )
})
