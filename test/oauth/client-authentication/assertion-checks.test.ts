import type { JWTPayload } from 'jose'
import t from 'tap'
import { endOf, findClaimFault, findShapeFault } from '../../../src/oauth/client-authentication/assertion-checks.ts'
import type { SignedJwt } from '../../../src/oauth/client-authentication/signed-jwt.ts'
import { CLIENT_ID } from '../../fixtures/app/client-row.ts'

const ISSUER = 'https://auth.example.com'
const SECONDS = 1_800_000_000
const NOW = SECONDS * 1_000

/** A good assertion with other members of its header and its claims. A claim that is undefined is left out. */
function assertion(header: object = {}, claims: Record<keyof JWTPayload, unknown> | object = {}): SignedJwt {
  const good = { iss: CLIENT_ID, sub: CLIENT_ID, aud: ISSUER, iat: SECONDS, exp: SECONDS + 60, jti: 'j' }
  return {
    header: { alg: 'ES256', ...header },
    claims: JSON.parse(JSON.stringify({ ...good, ...claims })),
    signed: Buffer.from(''),
    signature: Buffer.alloc(64)
  }
}

const claimFault = (claims: object, now = NOW) => findClaimFault(assertion({}, claims), { issuer: ISSUER, now })

t.test('a good assertion passes every check', async t => {
  t.equal(findShapeFault(assertion()), undefined)
  t.equal(claimFault({}), undefined)
})

// [ASSERTION-1]
t.test('check 1: the header has an allowed alg, and neither crit nor b64 (RFC 7515 §4.1.11, RFC 7797 §6)', async t => {
  for (const header of [
    ...[{ alg: 'none' }, { alg: 'HS256' }, { alg: undefined }],
    ...[{ crit: [] }, { crit: ['exp'], exp: 1 }, { crit: null }, { b64: true }, { b64: false, crit: ['b64'] }]
  ]) {
    t.equal(findShapeFault(assertion(header)), 'assertion_header', JSON.stringify(header))
  }
  t.equal(
    findShapeFault({ ...assertion(), signature: Buffer.alloc(70) }),
    'assertion_header',
    'a signature of another length'
  )
})

t.test('members of the header that carry a key or lead to one are not read (RFC 8725 §3.10)', async t => {
  const read: string[] = []
  const header = new Proxy<Record<string, unknown>>(
    { alg: 'ES256', kid: 'k', jku: 'https://evil.example', x5u: 'https://evil.example', x5c: ['x'], jwk: {} },
    {
      get: (target, name) => {
        read.push(String(name))
        return target[String(name)]
      }
    }
  )
  t.equal(findShapeFault({ ...assertion(), header }), undefined)
  t.same([...new Set(read)].sort(), ['alg', 'typ'])
})

// [ASSERTION-2]
t.test(
  'check 2: typ is absent, JWT or client-authentication+jwt, as a media type (RFC 7515 §4.1.9, RFC 8725 §3.11)',
  async t => {
    for (const typ of [undefined, 'JWT', 'jwt', 'client-authentication+jwt', 'application/client-authentication+jwt']) {
      t.equal(findShapeFault(assertion({ typ })), undefined, String(typ))
    }
    for (const typ of ['at+jwt', 'dpop+jwt', 'logout+jwt', 'secevent+jwt', 'JWT ', 'x/JWT', '', null, 1, ['JWT'], {}]) {
      t.equal(findShapeFault(assertion({ typ })), 'assertion_typ', JSON.stringify(typ))
    }
  }
)

// [ASSERTION-3]
t.test('check 3: iss equals sub and has the form of a client id (RFC 7523 §3)', async t => {
  for (const id of [
    '',
    'x',
    CLIENT_ID.toUpperCase(),
    `${CLIENT_ID} `,
    `${CLIENT_ID}\n`,
    'https://issuer.example',
    1,
    null,
    [CLIENT_ID]
  ]) {
    t.equal(findShapeFault(assertion({}, { iss: id, sub: id })), 'assertion_issuer', JSON.stringify(id))
  }
  for (const claims of [{ iss: '0'.repeat(20) }, { sub: '0'.repeat(20) }, { iss: undefined }, { sub: undefined }]) {
    t.equal(findShapeFault(assertion({}, claims)), 'assertion_issuer', JSON.stringify(claims))
  }
})

// [ASSERTION-6]
t.test('check 6: aud is the issuer, as a text or as an array of exactly that text (RFC 10070)', async t => {
  for (const aud of [ISSUER, [ISSUER]]) t.equal(claimFault({ aud }), undefined)
  const description = `aud must be the issuer, ${ISSUER}, and nothing else (RFC 10070).`
  for (const aud of [
    ...[
      `${ISSUER}/`,
      `${ISSUER}/oauth/token`,
      ISSUER.slice(0, -1),
      ISSUER.toUpperCase(),
      ` ${ISSUER}`,
      'https://auth.example.com:443'
    ],
    ...[[ISSUER, ISSUER], [ISSUER, 'other'], ['other', ISSUER], [[ISSUER]], [], '', null, 1, { 0: ISSUER }, undefined]
  ]) {
    t.same(claimFault({ aud }), { reason: 'assertion_audience', description }, JSON.stringify(aud))
  }
})

// [ASSERTION-7]
t.test('check 7: an assertion is valid until the earlier of exp and iat + 300 s (RFC 7519 §4.1.4)', async t => {
  const isValid = (claims: object, now: number) => claimFault(claims, now) === undefined
  for (const [claims, end] of [
    [{}, 60],
    [{ exp: SECONDS + 86_400 }, 300],
    [{ exp: SECONDS + 300 }, 300],
    [{ exp: SECONDS + 301, iat: SECONDS - 100 }, 200],
    [{ exp: SECONDS + 300, iat: undefined }, 300],
    [{ exp: SECONDS + 0.5, iat: undefined }, 0.5]
  ] as const) {
    t.equal(endOf(assertion({}, claims)), NOW + end * 1_000)
    t.equal(isValid(claims, NOW + end * 1_000 - 1), true, JSON.stringify(claims))
    t.equal(isValid(claims, NOW + end * 1_000), false, JSON.stringify(claims))
  }
})

t.test('check 7: exp is required, iat too when exp is more than 300 s ahead, and both and nbf are numbers', async t => {
  const description = (claims: object) => {
    const fault = claimFault(claims)
    t.equal(fault?.reason, 'assertion_time', JSON.stringify(claims))
    return fault?.description ?? ''
  }
  t.match(description({ exp: undefined }), /^exp is required/)
  for (const exp of [null, '1800000060', [], {}]) t.match(description({ exp }), /^exp must be a number of seconds/)
  t.match(description({ iat: undefined, exp: SECONDS + 301 }), /^iat is required when exp is more than 300 seconds/)
  for (const value of [null, '1', [], {}]) {
    t.match(description({ iat: value }), /^iat must be a number/)
    t.match(description({ nbf: value }), /^nbf must be a number/)
  }
  const huge: SignedJwt = { ...assertion(), claims: JSON.parse(`{"aud":"${ISSUER}","jti":"j","exp":1e999}`) }
  t.equal(findClaimFault(huge, { issuer: ISSUER, now: NOW })?.reason, 'assertion_time')
})

t.test('check 7: iat and nbf may be up to 10 s ahead, so that clocks of clients may be (RFC 7519 §4.1.5)', async t => {
  for (const name of ['iat', 'nbf']) {
    t.equal(claimFault({ [name]: SECONDS + 10 }), undefined)
    t.equal(claimFault({ [name]: SECONDS + 10.001 })?.reason, 'assertion_time', name)
  }
})

t.test('no assertion that passes ends more than 310 s from now, so that no jti is kept for longer', async t => {
  for (const claims of [
    { exp: Number.MAX_SAFE_INTEGER, iat: SECONDS + 10 },
    { exp: SECONDS + 300, iat: undefined },
    { exp: 1e300, iat: -1e300 }
  ]) {
    const end = endOf(assertion({}, claims))
    t.ok(claimFault(claims) !== undefined || end <= NOW + 310_000, JSON.stringify(claims))
  }
})

// [ASSERTION-8]
t.test('check 8: jti has 1 to 255 characters (RFC 7519 §4.1.7)', async t => {
  for (const jti of ['j', 'j'.repeat(255), '\u{1f511}'.repeat(255), ' ', '\0', "'; drop table assertion_uses; --"])
    t.equal(claimFault({ jti }), undefined)
  for (const jti of [
    undefined,
    '',
    'j'.repeat(256),
    '\u{1f511}'.repeat(256),
    '\ud800',
    'j\udc00j',
    1,
    null,
    ['j'],
    {}
  ]) {
    t.equal(claimFault({ jti })?.reason, 'assertion_jti', JSON.stringify(jti))
  }
})

t.test('the checks run in their order, and the first that fails is named', async t => {
  const wrong = { header: { alg: 'none' }, typ: { typ: 'at+jwt' }, iss: { iss: 'x' } }
  t.equal(findShapeFault(assertion({ ...wrong.header, ...wrong.typ }, wrong.iss)), 'assertion_header')
  t.equal(findShapeFault(assertion(wrong.typ, wrong.iss)), 'assertion_typ')
  t.equal(findShapeFault(assertion({}, wrong.iss)), 'assertion_issuer')
  t.equal(claimFault({ aud: 'x', exp: 0, jti: '' })?.reason, 'assertion_audience')
  t.equal(claimFault({ exp: 0, jti: '' })?.reason, 'assertion_time')
})

t.test('each description is of the characters that RFC 6749 §5.2 allows', async t => {
  for (const claims of [
    ...[{ aud: 'x' }, { exp: 'x' }, { exp: 0 }, { iat: 'x' }, { nbf: 'x' }, { iat: SECONDS + 100 }],
    ...[{ nbf: SECONDS + 100 }, { iat: undefined, exp: SECONDS + 400 }, { jti: '' }]
  ]) {
    t.match(claimFault(claims)?.description, /^[\x20-\x21\x23-\x5B\x5D-\x7E]+$/, JSON.stringify(claims))
  }
})
