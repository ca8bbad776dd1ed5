import { createHmac, generateKeyPairSync, type KeyObject, randomUUID, sign } from 'node:crypto'
import t from 'tap'
import { DatabaseUnavailable } from '../../../src/database/errors.ts'
import { type Reach, VerifiedTokens } from '../../../src/oauth/issued-tokens/verified-tokens.ts'
import { issueAccessToken } from '../../../src/oauth/token/access-token.ts'
import type { SigningKey, VerificationKey } from '../../../src/signing-keys/signing-key.ts'

const ISSUER = 'https://grantd.example'
const NOW = Date.parse('2026-11-23T09:00:00Z')
const SECONDS = NOW / 1_000
const CLIENT_ID = 'k3v9x2m7q1w8z5t4r6y0'
const ACME: Reach = { siteId: 'acme' }

const pairs = {
  ES256: generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  other: generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  RS256: generateKeyPairSync('rsa', { modulusLength: 2_048 }),
  EdDSA: generateKeyPairSync('ed25519')
}
const algorithms = { ES256: 'ES256', other: 'ES256', RS256: 'RS256', EdDSA: 'EdDSA' } as const
type Kid = keyof typeof pairs

/** Verifies with the keys of these kids, and counts how often each was asked for. */
function verifierOf(...published: Kid[]) {
  const keys = new Map<string, VerificationKey>(
    published.map(kid => [kid, { algorithm: algorithms[kid], publicKey: pairs[kid].publicKey }])
  )
  return {
    keys,
    tokens: new VerifiedTokens({
      issuer: ISSUER,
      keySet: { verificationKey: kid => keys.get(kid), learn: async () => {} }
    })
  }
}

function signingKey(kid: Kid): SigningKey {
  const algorithm = algorithms[kid]
  return { kid, algorithm, privateKey: pairs[kid].privateKey, header: encode({ typ: 'at+jwt', alg: algorithm, kid }) }
}

function issued(kid: Kid = 'ES256', members: object = {}): string {
  return issueAccessToken(signingKey(kid), {
    ...{ issuer: ISSUER, audience: ISSUER, clientId: CLIENT_ID, siteId: 'acme', scope: 'a b', jkt: undefined },
    ...{ issuedAt: NOW, ttlSeconds: 900, expiresAt: NOW + 1e9 },
    ...members
  }).accessToken
}

function encode(value: object): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url')
}

const goodHeader = { typ: 'at+jwt', alg: 'ES256', kid: 'ES256' }
const goodClaims = {
  ...{ iss: ISSUER, sub: CLIENT_ID, client_id: CLIENT_ID, aud: ISSUER, exp: SECONDS + 900, iat: SECONDS },
  ...{ jti: randomUUID(), site: 'acme' }
}

/** A token that our key has signed, with this header and these claims. */
function signedToken(
  header: object = goodHeader,
  claims: object = goodClaims,
  key: KeyObject = pairs.ES256.privateKey
) {
  const input = `${encode(header)}.${encode(claims)}`
  return `${input}.${sign('sha256', Buffer.from(input), { key, dsaEncoding: 'ieee-p1363' }).toString('base64url')}`
}

t.test('a token of every algorithm is found, with all that it says', async t => {
  const { tokens } = verifierOf('ES256', 'RS256', 'EdDSA')
  for (const kid of ['ES256', 'RS256', 'EdDSA'] as const) {
    const found = await tokens.find(issued(kid), ACME)
    t.match(found, { kid, iss: ISSUER, sub: CLIENT_ID, clientId: CLIENT_ID, siteId: 'acme', aud: ISSUER, scope: 'a b' })
    t.match(found, { iat: SECONDS, exp: SECONDS + 900, jti: /^[\da-f-]{36}$/, cnf: undefined })
  }
  t.match(await tokens.find(signedToken(goodHeader, { ...goodClaims, cnf: { jkt: 'x' } }), ACME), { cnf: { jkt: 'x' } })
})

t.test('a token is found within the reach of the caller only, also when it was found before', async t => {
  const { tokens } = verifierOf('ES256')
  const token = issued()
  for (let time = 0; time < 2; time++) {
    t.ok(await tokens.find(token, ACME))
    t.ok(await tokens.find(token, 'every token'))
    t.ok(await tokens.find(token, { clientId: CLIENT_ID }))
    t.equal(await tokens.find(token, { siteId: 'globex' }), undefined)
    t.equal(await tokens.find(token, { clientId: 'a1b2c3d4e5f6g7h8i9j0' }), undefined)
  }
})

t.test('a token is not found once its key is no longer published, also when it was found before', async t => {
  const { tokens, keys } = verifierOf('ES256')
  const token = issued()
  t.ok(await tokens.find(token, ACME))
  keys.delete('ES256')
  t.equal(await tokens.find(token, ACME), undefined)
  keys.set('ES256', { algorithm: 'ES256', publicKey: pairs.other.publicKey })
  t.equal(await tokens.find(token, ACME), undefined, 'another key with the same kid')
})

t.test('a key that cannot be decrypted is no reason to call its tokens unknown', async t => {
  const tokens = new VerifiedTokens({
    issuer: ISSUER,
    keySet: {
      verificationKey: () => {
        throw new DatabaseUnavailable('cannot be decrypted')
      },
      learn: async () => {}
    }
  })
  await t.rejects(tokens.find(issued(), ACME), DatabaseUnavailable)
})

t.test(
  'keys are read for nothing but a token whose kid is unknown, whether the caller may ask about it or not',
  async t => {
    const learned: string[] = []
    const { keys } = verifierOf('ES256')
    const keySet = {
      verificationKey: (kid: string) => keys.get(kid),
      learn: async (kid: string) => {
        if (!keys.has(kid)) learned.push(kid)
      }
    }
    const tokens = new VerifiedTokens({ issuer: ISSUER, keySet })
    t.equal(await tokens.find(issued(), { siteId: 'globex' }), undefined)
    t.equal(await tokens.find(signedToken(goodHeader, goodClaims, pairs.other.privateKey), ACME), undefined)
    t.equal(await tokens.find('x', ACME), undefined)
    t.equal(await tokens.find(signedToken({ ...goodHeader, kid: 'x', alg: 'none' }), ACME), undefined)
    t.equal(await tokens.find(signedToken({ ...goodHeader, kid: 'x', typ: 'JWT' }), ACME), undefined)
    t.same(learned, [])
    t.equal(await tokens.find(issued('other'), ACME), undefined)
    t.same(learned, ['other'])
  }
)

t.test('every changed byte of a token makes it unknown (RFC 7515 §5.2)', async t => {
  const { tokens } = verifierOf('ES256')
  const token = issued()
  t.ok(await tokens.find(token, ACME))
  for (let at = 0; at < token.length; at++) {
    const changed = `${token.slice(0, at)}${token[at] === 'A' ? 'B' : 'A'}${token.slice(at + 1)}`
    t.equal(await tokens.find(changed, ACME), undefined, `at ${at}`)
  }
})

// [INTROSPECT-1]
t.test('no trick of the header makes a token known (RFC 8725 §3)', async t => {
  const { tokens } = verifierOf('ES256', 'RS256', 'EdDSA')
  const claims = encode(goodClaims)
  const none = encode({ ...goodHeader, alg: 'none' })
  const hs256 = encode({ ...goodHeader, alg: 'HS256' })
  const pem = pairs.ES256.publicKey.export({ type: 'spki', format: 'pem' })
  const der = (input: string) =>
    `${input}.${sign('sha256', Buffer.from(input), pairs.ES256.privateKey).toString('base64url')}`
  const jwk = pairs.other.publicKey.export({ format: 'jwk' })
  const byOther = (header: object) => signedToken(header, goodClaims, pairs.other.privateKey)
  const tricks: Record<string, string> = {
    'alg none': `${none}.${claims}.`,
    'alg none with a signature': `${none}.${claims}.${'A'.repeat(86)}`,
    'HS256 with the public key': `${hs256}.${claims}.${createHmac('sha256', pem).update(`${hs256}.${claims}`).digest('base64url')}`,
    'a DER signature': der(`${encode(goodHeader)}.${claims}`),
    'an empty signature': `${encode(goodHeader)}.${claims}.`,
    'a zero signature': `${encode(goodHeader)}.${claims}.${'A'.repeat(86)}`,
    'the kid of another algorithm': signedToken({ ...goodHeader, kid: 'RS256' }),
    'the algorithm of another key': signedToken({ ...goodHeader, alg: 'EdDSA' }),
    'ES384 in place of ES256': signedToken({ ...goodHeader, alg: 'ES384' }),
    'the kid of a key of ours, signed by a stranger': byOther(goodHeader),
    'a kid that is not published': byOther({ ...goodHeader, kid: 'other' }),
    'no kid': signedToken({ typ: 'at+jwt', alg: 'ES256' }),
    'a kid that is no text': signedToken({ ...goodHeader, kid: ['ES256'] }),
    'a kid of the prototype': signedToken({ ...goodHeader, kid: '__proto__' }),
    'a key in the header': byOther({ ...goodHeader, jwk }),
    'a key set elsewhere': byOther({ ...goodHeader, jku: 'http://127.0.0.1:1/' }),
    'a critical extension': signedToken({ ...goodHeader, crit: ['b64'], b64: true }),
    'no typ': signedToken({ alg: 'ES256', kid: 'ES256' }),
    'the typ of another JWT': signedToken({ ...goodHeader, typ: 'JWT' }),
    'the typ of a DPoP proof': signedToken({ ...goodHeader, typ: 'dpop+jwt' }),
    'a JWE': `${encode({ alg: 'dir', enc: 'A256GCM' })}..AAAA.AAAA.AAAA`
  }
  t.ok(await tokens.find(signedToken(), ACME), 'the control')
  for (const [trick, token] of Object.entries(tricks)) t.equal(await tokens.find(token, ACME), undefined, trick)
})

// [INTROSPECT-2]
t.test('a JWT that our key has signed is no access token unless each claim is one (RFC 9068 §2.2)', async t => {
  const { tokens } = verifierOf('ES256')
  const { iss, sub, client_id, site, aud, jti, iat, exp } = goodClaims
  const others: Record<string, object> = {
    'the issuer of another instance': { iss: 'https://other.example' },
    'an issuer that only begins like ours': { iss: `${iss}/` },
    'a sub that differs from client_id': { sub: 'a1b2c3d4e5f6g7h8i9j0' },
    'a list of audiences': { aud: [aud] },
    'exp as text': { exp: String(exp) },
    'iat as text': { iat: String(iat) },
    'a jti that is a number': { jti: 1 },
    'a scope that is a list': { scope: ['a'] },
    'a cnf without a thumbprint': { cnf: {} },
    'a cnf that is a text': { cnf: 'x' }
  }
  for (const name of Object.keys({ iss, sub, client_id, site, aud, jti, iat, exp })) {
    others[`without ${name}`] = { [name]: undefined }
  }
  for (const [what, members] of Object.entries(others)) {
    t.equal(await tokens.find(signedToken(goodHeader, { ...goodClaims, ...members }), ACME), undefined, what)
  }
})

t.test('a text that is no JWT is unknown, whatever it is', async t => {
  const { tokens } = verifierOf('ES256')
  const token = issued()
  const texts = [
    '',
    '.',
    '..',
    '...',
    'a.b.c',
    token.repeat(2),
    ` ${token}`,
    `${token}=`,
    `${token}.`,
    '\u{1F511}',
    'x'.repeat(16_000)
  ]
  const deep = Buffer.from('['.repeat(12_000)).toString('base64url')
  for (const text of [...texts, `${deep}.${deep}.AAAA`]) t.equal(await tokens.find(text, ACME), undefined)
})
