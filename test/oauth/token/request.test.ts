import { isDeepStrictEqual } from 'node:util'
import fc from 'fast-check'
import t from 'tap'
import { parseForm, REPEATED } from '../../../src/oauth/form.ts'
import { OAuthError } from '../../../src/oauth/oauth-error.ts'
import { readTokenRequest, type TokenRequest } from '../../../src/oauth/token/request.ts'
import { basic } from '../../fixtures/app/grantd.ts'

// [TOKEN-11]
t.test('a form can be read in one way only', async t => {
  t.same(parseForm('a=1&b=x%20y+z&c=%C3%A9&&d=a=b'), new Map(Object.entries({ a: '1', b: 'x y z', c: 'é', d: 'a=b' })))
  t.same(parseForm(''), new Map())
  t.same(parseForm('empty=&bare'), new Map(), 'empty counts as absent')
  for (const body of ['a=1&a=1', 'a=&a=1', 'a&a', '%61=1&a=2']) t.same(parseForm(body), { fault: 'repeated' }, body)
  for (const body of ['a=%', 'a=%zz', 'a=%4', '%zz=1', 'a=%00', 'a=\0', 'a=%FF', 'a=%C3', 'a=\uFFFD', 'a=%ED%A0%80']) {
    t.same(parseForm(body), { fault: 'malformed' }, JSON.stringify(body))
  }
})

t.test('any text that a client encodes is decoded to the same text', async () => {
  const text = fc.string({ unit: 'grapheme', minLength: 1 }).filter(value => !/[\0\uFFFD]/.test(value))
  fc.assert(
    fc.property(text, value => {
      const form = parseForm(new URLSearchParams({ value }).toString())
      return form instanceof Map && form.get('value') === value
    })
  )
})

/** What is read of this header and body: the request, or the error with the reason for the log. */
function outcome(authorization: string | undefined, body: string | undefined, query = ''): unknown {
  try {
    return readTokenRequest(authorization, body === undefined ? undefined : parseForm(body), query)
  } catch (error) {
    if (!(error instanceof OAuthError)) throw error
    const { status, code, reason, message, headers } = error
    return { status, code, reason, message, isChallenged: 'www-authenticate' in headers }
  }
}

const GRANT = 'grant_type=client_credentials'

function read(clientId: string, secret: string, scope?: string, resource?: string): unknown {
  return { client: { clientId, credential: { kind: 'secret', secret } }, scope, resource, dpopProof: undefined }
}

t.test('Basic credentials are form-decoded after base64 (RFC 6749 §2.3.1, Appendix B)', async t => {
  for (const [header, clientId, clientSecret] of [
    [basic('id', 'secret'), 'id', 'secret'],
    [basic('i%3Ad', 's%20e+c%C3%A9'), 'i:d', 's e cé'],
    [basic('id', 'a:b'), 'id', 'a:b'],
    [basic('id', 'secret').replace('Basic', 'bAsIc '), 'id', 'secret']
  ] as const) {
    t.strictSame(outcome(header, GRANT), read(clientId, clientSecret), header)
  }
  const named = outcome(basic('id', 's'), `${GRANT}&client_id=id&scope=a+b`)
  t.strictSame(named, read('id', 's', 'a b'), 'a client_id that is the same')
})

t.test('a repeated resource is no malformed request: its error comes after authentication (RFC 8707 §2)', async t => {
  const post = `${GRANT}&client_id=id&client_secret=s`
  for (const [parameters, resource] of [
    ['', undefined],
    ['&resource=', undefined],
    ['&resource', undefined],
    ['&resource=https%3A%2F%2Fa.example', 'https://a.example'],
    ['&resource=https://a.example&resource=https://a.example', REPEATED],
    ['&resource=https://a.example&resource=https://b.example&resource=x', REPEATED],
    ['&resource=&resource=https://a.example', REPEATED],
    ['&resource=https://a.example&%72esource=', REPEATED],
    ['&resource=&resource=', REPEATED],
    ['&audience=https://a.example', undefined]
  ] as const) {
    t.strictSame(outcome(undefined, post + parameters), read('id', 's', undefined, resource), parameters)
  }
  t.match(outcome(undefined, `${post}&resource=%00`), { reason: 'malformed_form' }, 'no client can send the mark')
  t.match(outcome(undefined, `${post}&resource=a&audience=b&audience=b`), { reason: 'repeated_parameter' })
})

t.test('credentials and scope are read from the body (RFC 6749 §2.3.1)', async t => {
  const body = `${GRANT}&client_id=id&client_secret=s+1&scope=a%20b`
  t.strictSame(outcome(undefined, body), read('id', 's 1', 'a b'))
})

t.test(
  'each fault has one error code and one reason for the log, and every 401 is challenged (RFC 6749 §5.2, RFC 9110 §15.5.2)',
  async t => {
    const header = basic('id', 's')
    const post = `${GRANT}&client_id=id&client_secret=s`
    const refused = (status: number, code: string) => ({ status, code, isChallenged: status === 401 })
    const invalid = refused(400, 'invalid_request')
    for (const [authorization, body, reason, expected, message] of [
      [undefined, undefined, 'media_type', invalid, /x-www-form-urlencoded/],
      [undefined, `${post}&x=1&x=1`, 'repeated_parameter', invalid, /repeated/],
      [undefined, `${post}&x=%zz`, 'malformed_form', invalid, /UTF-8/],
      [undefined, 'client_id=id&client_secret=s', 'no_grant_type', invalid, /grant_type is missing/],
      [undefined, 'grant_type=&client_id=id', 'no_grant_type', invalid, /grant_type is missing/],
      [undefined, 'grant_type=password', 'grant_type', refused(400, 'unsupported_grant_type'), /must be client_cred/],
      [undefined, GRANT, 'no_credentials', refused(401, 'invalid_client'), /failed/],
      [undefined, `${GRANT}&client_id=id`, 'no_credentials', refused(401, 'invalid_client'), /failed/],
      [undefined, `${GRANT}&client_secret=s`, 'no_credentials', refused(401, 'invalid_client'), /failed/],
      [
        undefined,
        `${GRANT}&client_id=id&client_assertion=x`,
        'assertion_type',
        refused(401, 'invalid_client'),
        /failed/
      ],
      [undefined, `${post}&client_assertion=x`, 'two_ways_of_authenticating', invalid, /more than one way/],
      [undefined, `${post}&client_assertion_type=x`, 'two_ways_of_authenticating', invalid, /more than one way/],
      [header, post, 'two_ways_of_authenticating', invalid, /more than one way/],
      [header, `${GRANT}&client_assertion=x`, 'two_ways_of_authenticating', invalid, /more than one way/],
      [header, `${GRANT}&client_assertion_type=x`, 'two_ways_of_authenticating', invalid, /more than one way/],
      [`${header}, ${header}`, GRANT, 'two_ways_of_authenticating', invalid, /more than one way/],
      [
        header,
        `${GRANT}&client_id=other`,
        'two_client_ids',
        invalid,
        /differs from the client that the request authenticates/
      ],
      ...[
        `x${header}`,
        `${header} x`,
        `${header}=`,
        'Basic aWQ6cw',
        'Basic aWQ6cx==',
        'Basic',
        'Basic ',
        `Basic ${Buffer.from('no colon').toString('base64')}`,
        basic('', 's'),
        basic('id', ''),
        basic('%zz', 's'),
        basic('id', '%00'),
        ''
      ].map(text => [text, GRANT, 'malformed_basic', refused(401, 'invalid_client'), /failed/] as const)
    ] as const) {
      t.match(outcome(authorization, body), { ...expected, message }, reason)
      t.equal(Object(outcome(authorization, body)).reason, reason, String(authorization))
    }
  }
)

t.test('an OAuth parameter in the query is refused, and any other is ignored', async t => {
  const post = `${GRANT}&client_id=id&client_secret=s`
  for (const query of [
    'scope=a',
    'x=1&client_id=id',
    'client%5Fsecret=s',
    'grant_type=client_credentials',
    'token=t'
  ]) {
    t.match(outcome(undefined, post, query), { status: 400, code: 'invalid_request', reason: 'query' }, query)
  }
  for (const query of [
    '',
    'x',
    'x=1&x=1',
    'trace=abc',
    'scope=',
    'client_id',
    'x=%zz',
    '%zz=1',
    '?scope=a',
    'Scope=a'
  ]) {
    t.strictSame(outcome(undefined, post, query), read('id', 's'), query)
  }
})

t.test('a pair is split at its first =, and empty pairs are ignored', async t => {
  t.strictSame(parseForm('a=1&&&b=2&'), new Map(Object.entries({ a: '1', b: '2' })))
  t.strictSame(parseForm('=x'), new Map([['', 'x']]))
  t.strictSame(parseForm('bare&bar=1&c==&d=a=b'), new Map(Object.entries({ bar: '1', c: '=', d: 'a=b' })))
})

t.test('no header or body can be read in two ways, or causes an error other than an OAuthError', async () => {
  const authorization = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.base64String().map(text => `Basic ${text}`),
    fc.tuple(fc.string(), fc.string()).map(([id, secret]) => basic(id, secret))
  )
  const body = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc
      .array(
        fc.tuple(fc.constantFrom('grant_type', 'client_id', 'client_secret', 'scope', 'resource', 'x'), fc.string())
      )
      .map(pairs => pairs.map(([name, value]) => `${name}=${encodeURIComponent(value)}`).join('&'))
      .map(text => `grant_type=client_credentials&${text}`)
  )
  fc.assert(
    fc.property(fc.option(authorization, { nil: undefined }), body, (header, text) => {
      const reversed = text.split('&').toReversed().join('&')
      return isDeepStrictEqual(outcome(header, text), outcome(header, reversed))
    }),
    { numRuns: 1_000 }
  )
})

// [TOKEN-9]
t.test('an accepted form has the meaning that the WHATWG URL standard gives it', async () => {
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

t.test('accepted Basic credentials read the same after they are encoded again', async () => {
  const form = parseForm('grant_type=client_credentials')
  const part = fc.stringMatching(/^([a-c]|:|\+|%[0-9a-fA-F]{2}|é| ){0,12}$/)
  fc.assert(
    fc.property(part, part, (id, secret) => {
      let first: TokenRequest
      try {
        first = readTokenRequest(basic(id, secret), form, '')
      } catch (error) {
        return error instanceof OAuthError && error.status === 401
      }
      const { clientId, credential } = first.client
      if (credential.kind !== 'secret') return false
      const again = basic(encodeURIComponent(clientId), encodeURIComponent(credential.secret))
      return isDeepStrictEqual(readTokenRequest(again, form, ''), first)
    }),
    { numRuns: 3_000 }
  )
})
