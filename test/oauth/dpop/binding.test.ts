import { generateKeyPairSync } from 'node:crypto'
import t, { type Test } from 'tap'
import { decideBinding, requireBinding } from '../../../src/oauth/dpop/binding.ts'
import { PROOF_ALGORITHMS } from '../../../src/oauth/dpop/proof-checks.ts'
import { type ClientKey, makeClientKey } from '../../fixtures/app/assertion.ts'
import { proofClaims, signProof } from '../../fixtures/app/dpop.ts'

const ENDPOINT = 'https://auth.example.com/oauth/token'
const SECONDS = 1_800_000_000
const NOW = SECONDS * 1_000
/** Characters of a description (RFC 6749 §5.2). */
const ALLOWED = /^[ !#-[\]-~]+$/

const key = await makeClientKey()
const rsa = await makeClientKey('PS256')
const ed25519 = await makeClientKey('EdDSA')

const decide = (proof: string | undefined, now = NOW) => decideBinding(proof, false, ENDPOINT, now)
const proof = (claims: object = {}, header: Record<string, unknown> = {}, by = key) =>
  signProof(by, proofClaims(ENDPOINT, NOW, { ...claims }), header)

function granted(t: Test, text: string, message = text, by: ClientKey = key): void {
  t.same(decide(text), { granted: by.credential.keyId }, message)
}

function refused(t: Test, text: string | undefined, reason: string, message = text ?? ''): void {
  const decision = decide(text)
  t.match(decision, { fault: { reason, description: ALLOWED } }, message)
  t.throws(() => requireBinding(decision), { status: 400, code: 'invalid_dpop_proof', reason })
}

t.test('without a proof a token is a bearer token, unless the registration refuses those', async t => {
  t.same(decide(undefined), { granted: undefined })
  t.match(decideBinding(undefined, true, ENDPOINT, NOW), { fault: { reason: 'no_dpop_proof', description: ALLOWED } })
  const bound = decideBinding(proof(), true, ENDPOINT, NOW)
  t.same(bound, { granted: key.credential.keyId })
  t.equal(requireBinding(bound), key.credential.keyId)
  t.equal(requireBinding(decide(undefined)), undefined)
})

t.test('a proof by each algorithm binds to the thumbprint of its key (RFC 9449 §6.1, RFC 7638)', async t => {
  for (const alg of ['ES256', 'EdDSA', 'PS256', 'RS256'] as const) {
    const own = await makeClientKey(alg)
    for (const time of ['first', 'known']) granted(t, proof({}, {}, own), `${alg}, ${time}`, own)
  }
  // jose and WebCrypto name Ed25519 signatures after their curve (RFC 9864 §2.2).
  granted(t, proof({}, { alg: 'Ed25519' }, ed25519), 'Ed25519', ed25519)
  t.same(PROOF_ALGORITHMS, ['ES256', 'EdDSA', 'Ed25519', 'PS256', 'RS256'])
})

t.test('members that grantd does not know change nothing, and neither do ath and nonce (RFC 9449 §4.2)', async t => {
  const members = { ath: 'x', nonce: 'x', tx_id: 1, aud: 'x', iss: 'x', sub: 'x' }
  granted(t, proof(members, { kid: 'k', jku: 'https://evil.example', x5u: 'https://evil.example', x5c: ['x'], tx: 1 }))
  granted(
    t,
    proof(
      {},
      {
        jwk: {
          ...key.credential.jwk,
          kid: 'k',
          use: 'sig',
          alg: 'ES256',
          key_ops: ['verify'],
          x: key.credential.jwk['x']
        }
      }
    )
  )
  granted(t, proof({}, { typ: 'application/DPoP+jwt' }), 'typ is a media type (RFC 7515 §4.1.9)')
})

// [DPOP-1]
t.test('check 1: there is one proof, a signed JWT of at most 4 KiB (RFC 9449 §4.3)', async t => {
  const good = proof()
  const [header, claims, signature] = good.split('.')
  for (const text of [
    ...['', ' ', ',', `${good}, ${good}`, `${good},`, `, ${good}`, `${good} ${good}`, `"${good}"`],
    ...[`${good}=`, ` ${good}`, `${header}.${claims}`, `${header}.${claims}.`, `${good}.${signature}`, `.${claims}.`],
    ...[`x.${claims}.${signature}`, `${header}.x.${signature}`, `\xe9${good}`]
  ]) {
    refused(t, text, 'malformed_dpop_proof')
  }
})

t.test('a proof of 4096 characters is accepted, and a longer one is not', async t => {
  // Base64url has no text of every length, so two parts are filled up.
  const texts = Array.from({ length: 400 }, (_, index) =>
    proof({ filler: 'x'.repeat(2_600 + Math.floor(index / 2)) }, { kid: 'x'.repeat(1 + (index % 2)) })
  )
  const ofLength = (length: number) => texts.find(text => text.length === length)
  granted(t, ofLength(4_096) ?? '')
  refused(t, ofLength(4_097), 'malformed_dpop_proof')
})

// [DPOP-2]
t.test('check 2: typ is dpop+jwt, alg is supported, and there is neither crit nor b64', async t => {
  for (const header of [
    ...[undefined, '', 'JWT', 'jwt', 'at+jwt', 'dpop+jwt+wrong', 'dpop', 1, null, ['dpop+jwt']].map(typ => ({ typ })),
    ...[undefined, '', 'none', 'HS256', 'RS384', 'PS512', 'ES384', 'ES256K', 'es256', 1, null].map(alg => ({ alg })),
    ...[{ crit: [] }, { crit: ['exp'] }, { b64: true }, { b64: false, crit: ['b64'] }]
  ]) {
    refused(t, proof({}, header), 'dpop_header', JSON.stringify(header))
  }
})

// [DPOP-3]
t.test('check 3: jwk is a public key that fits alg and is not weak (RFC 9449 §4.3, RFC 8725 §3.4, §3.5)', async t => {
  const { jwk } = key.credential
  const with_ = (members: object) => ({ ...jwk, ...members })
  const jwkOf = (type: 'P-384' | 'secp256k1') =>
    generateKeyPairSync('ec', { namedCurve: type }).publicKey.export({ format: 'jwk' })
  for (const bad of [
    ...[undefined, null, 'jwk', 1, [], [jwk], {}, JSON.stringify(jwk)],
    ...[
      with_({ kty: 'oct' }),
      with_({ crv: 'P-384' }),
      with_({ y: jwk['x'] }),
      with_({ x: undefined }),
      with_({ x: 1 })
    ],
    ...[with_({ x: `${jwk['x']}=` }), with_({ alg: 'ES384' }), with_({ alg: null }), with_({ use: 'enc' })],
    ...[with_({ key_ops: ['sign'] }), jwkOf('P-384'), jwkOf('secp256k1'), rsa.credential.jwk, ed25519.credential.jwk]
  ]) {
    refused(t, proof({}, { jwk: bad }), 'dpop_key', JSON.stringify(bad))
    t.match(decide(proof({}, { jwk: bad })), { fault: { description: /^jwk must be a public key that fits alg/ } })
  }
  for (const member of ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k', 'priv']) {
    for (const others of [{}, { use: 'enc' }]) {
      const text = proof({}, { jwk: with_({ ...others, [member]: 'x' }) })
      t.match(decide(text), { fault: { reason: 'dpop_key', description: /private key/ } }, member)
    }
  }
  refused(t, proof({}, { jwk: key.privateKey.export({ format: 'jwk' }) }), 'dpop_key', 'the whole private key')
})

t.test('a small RSA key, an exponent other than 65537 and a point of small order are refused', async t => {
  const small = await makeClientKey('PS256', 1_024)
  refused(t, proof({}, {}, small), 'dpop_key', '1024 bits')
  const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2_048, publicExponent: 3 })
  const { n, e } = publicKey.export({ format: 'jwk' })
  const odd = { privateKey, credential: { ...rsa.credential, jwk: { kty: 'RSA', n: String(n), e: String(e) } } }
  refused(t, proof({}, {}, odd), 'dpop_key', 'e is 3')
  const neutral = Buffer.alloc(32).fill(1, 0, 1).toString('base64url')
  refused(t, proof({}, { jwk: { ...ed25519.credential.jwk, x: neutral } }, ed25519), 'dpop_key', 'the neutral element')
  const short = { ...rsa.credential.jwk, n: String(rsa.credential.jwk['n']).slice(0, -4) }
  refused(t, proof({}, { jwk: short }, rsa), 'dpop_key', 'a cut modulus')
})

t.test('an octet key does not verify a signature by HMAC, whatever alg says (RFC 8725 §3.1)', async t => {
  const oct = { kty: 'oct', k: Buffer.alloc(32).toString('base64url') }
  for (const alg of ['HS256', 'ES256', 'PS256']) {
    const { fault } = Object(decide(proof({}, { alg, jwk: oct })))
    t.match(fault.reason, alg === 'HS256' ? 'dpop_header' : 'dpop_key')
  }
})

// [DPOP-4]
t.test('check 4: the key in jwk has made the signature, by the algorithm in alg', async t => {
  const other = await makeClientKey()
  refused(t, proof({}, { jwk: other.credential.jwk }), 'wrong_dpop_proof', 'another key')
  const otherRsa = await makeClientKey('PS256')
  refused(t, proof({}, { jwk: otherRsa.credential.jwk }, rsa), 'wrong_dpop_proof', 'another RSA key')
  refused(t, proof({}, { alg: 'RS256' }, rsa), 'wrong_dpop_proof', 'PS256 under the name of RS256')
  const [header = '', claims = '', signature = ''] = proof().split('.')
  const bytes = Buffer.from(signature, 'base64url')
  for (const changed of [
    Buffer.from(bytes).reverse(),
    Buffer.alloc(64),
    bytes.subarray(0, 63),
    Buffer.concat([bytes, Buffer.alloc(1)]),
    Buffer.concat([bytes, Buffer.alloc(8)])
  ]) {
    refused(t, `${header}.${claims}.${changed.toString('base64url')}`, 'wrong_dpop_proof')
  }
  const moved = Buffer.from(JSON.stringify(proofClaims(ENDPOINT, NOW))).toString('base64url')
  refused(t, `${header}.${moved}.${signature}`, 'wrong_dpop_proof', 'other claims')
})

// [DPOP-5]
t.test('check 5: htm is POST and htu is the token endpoint, without query and fragment (RFC 9449 §4.3)', async t => {
  for (const htu of [`${ENDPOINT}?a=b#c`, 'HTTPS://AUTH.example.com:443/oauth/%74oken']) granted(t, proof({ htu }), htu)
  for (const claims of [
    ...[undefined, '', 'GET', 'post', 'Post', 'POST ', 1, null, ['POST']].map(htm => ({ htm })),
    ...[undefined, '', 1, null, [ENDPOINT], '/oauth/token', `${ENDPOINT}x`, `${ENDPOINT}/`].map(htu => ({ htu })),
    ...['http://auth.example.com/oauth/token', 'https://auth.example.com/oauth/revoke'].map(htu => ({ htu }))
  ]) {
    refused(t, proof(claims), 'dpop_target', JSON.stringify(claims))
  }
})

// [DPOP-6]
t.test('check 6: iat is from 60 seconds ago to 10 seconds ahead (RFC 9449 §11.1)', async t => {
  for (const iat of [SECONDS - 60, SECONDS - 1.5, SECONDS, SECONDS + 10]) granted(t, proof({ iat }), String(iat))
  for (const iat of [
    ...[
      SECONDS - 61,
      SECONDS - 60.5,
      SECONDS - 3_600,
      0,
      -1,
      SECONDS + 10.5,
      SECONDS + 11,
      SECONDS + 3_600,
      1e300,
      NOW
    ],
    ...[undefined, null, '', String(SECONDS), [SECONDS], {}, true]
  ]) {
    refused(t, proof({ iat }), 'dpop_time', String(iat))
  }
  const late = decide(proof(), NOW + 60_001)
  t.match(late, { fault: { reason: 'dpop_time' } }, 'a millisecond too late')
  t.same(decide(proof(), NOW + 60_000), { granted: key.credential.keyId })
})

t.test('exp and nbf are not needed, and count where they are (RFC 7519 §4.1.4, §4.1.5)', async t => {
  granted(t, proof({ exp: SECONDS + 300, nbf: SECONDS }))
  granted(t, proof({ exp: SECONDS + 1, nbf: SECONDS + 10 }))
  for (const claims of [
    ...[SECONDS, SECONDS - 1, String(SECONDS + 60), null].map(exp => ({ exp })),
    ...[SECONDS + 11, String(SECONDS), null].map(nbf => ({ nbf }))
  ]) {
    refused(t, proof(claims), 'dpop_time', JSON.stringify(claims))
  }
})

// [DPOP-7]
t.test('check 7: jti has 1 to 255 characters', async t => {
  for (const jti of ['x', 'x'.repeat(255), '\u{1F600}'.repeat(255)]) granted(t, proof({ jti }), `${jti.length}`)
  for (const jti of [undefined, null, '', 'x'.repeat(256), 1, ['x'], {}, '\uD800']) {
    refused(t, proof({ jti }), 'dpop_jti', JSON.stringify(jti))
  }
})

t.test('a key that was good is judged by its bytes: the same key with a private member is refused', async t => {
  granted(t, proof())
  refused(t, proof({}, { jwk: { ...key.credential.jwk, d: 'x' } }), 'dpop_key', 'private')
  refused(t, proof({}, { jwk: { ...key.credential.jwk, use: 'enc' } }), 'dpop_key', 'for encryption')
  granted(t, proof({}, {}, rsa), 'by PS256', rsa)
  refused(
    t,
    proof({}, { alg: 'RS256', jwk: { ...rsa.credential.jwk, alg: 'PS256' } }, rsa),
    'dpop_key',
    'only for PS256'
  )
})
