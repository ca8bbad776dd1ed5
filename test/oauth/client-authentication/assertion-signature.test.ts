import { constants, createHmac, generateKeyPairSync, sign } from 'node:crypto'
import t from 'tap'
import type { KeyCredential } from '../../../src/credentials/credential.ts'
import { algorithmOf } from '../../../src/oauth/client-authentication/assertion-algorithms.ts'
import { AssertionSignature } from '../../../src/oauth/client-authentication/assertion-signature.ts'
import { parseSignedJwt, type SignedJwt } from '../../../src/oauth/client-authentication/signed-jwt.ts'
import { type ClientKey, makeClientKey, signAssertion } from '../../fixtures/app/assertion.ts'

const ALGORITHMS = ['ES256', 'ES384', 'EdDSA', 'PS256', 'RS256'] as const
const keys = new Map(await Promise.all(ALGORITHMS.map(async alg => [alg, await makeClientKey(alg)] as const)))
const others = new Map(await Promise.all(ALGORITHMS.map(async alg => [alg, await makeClientKey(alg)] as const)))

function keyOf(alg: KeyCredential['alg'], of: ReadonlyMap<string, ClientKey> = keys): ClientKey {
  const key = of.get(alg)
  if (key === undefined) throw new Error('no key')
  return key
}

async function signed(key: ClientKey, header = {}): Promise<SignedJwt> {
  return parsed(await signAssertion(key, { iss: 'a' }, header))
}

function parsed(text: string): SignedJwt {
  const jwt = parseSignedJwt(text)
  if (jwt === undefined) throw new Error('not a JWT')
  return jwt
}

/** Undefined for an algorithm that is not known, or a signature of another length. */
function signatureOf(jwt: SignedJwt): AssertionSignature | undefined {
  const algorithm = algorithmOf(jwt)
  return algorithm && new AssertionSignature(jwt, algorithm)
}

const isBy = (jwt: SignedJwt, { credential }: ClientKey) => signatureOf(jwt)?.isBy(credential)

/** A JWT with a header and a signature of the test's own. */
function jwtWith(header: object, signatureOver: (input: string) => Buffer): SignedJwt {
  const input = [header, { iss: 'a' }].map(part => Buffer.from(JSON.stringify(part)).toString('base64url')).join('.')
  return parsed(`${input}.${signatureOver(input).toString('base64url')}`)
}

// [ASSERTION-5]
for (const alg of ALGORITHMS) {
  t.test(`a signature by ${alg} verifies by its own key only`, async t => {
    const jwt = await signed(keyOf(alg))
    t.equal(isBy(jwt, keyOf(alg)), true)
    t.equal(isBy(jwt, keyOf(alg, others)), false)
    const changed = parsed(
      [Buffer.from(JSON.stringify({ alg })), Buffer.from('{"iss":"b"}'), jwt.signature]
        .map(part => part.toString('base64url'))
        .join('.')
    )
    t.equal(isBy(changed, keyOf(alg)), false, 'other claims')
    for (const other of ALGORITHMS.filter(each => each !== alg)) t.equal(isBy(jwt, keyOf(other)), false, other)
  })
}

t.test('EdDSA is also called Ed25519 (RFC 9864 §2.2)', async t => {
  const key = keyOf('EdDSA')
  t.equal(
    isBy(
      jwtWith({ alg: 'Ed25519' }, input => sign(null, Buffer.from(input), key.privateKey)),
      key
    ),
    true
  )
})

t.test(
  'an algorithm that is not allowed is refused: none, HS256 with the public key as its secret, and others',
  async t => {
    const { credential } = keyOf('ES256')
    for (const secret of [JSON.stringify(credential.jwk), credential.jwk['x'] ?? '', '']) {
      for (const alg of ['HS256', 'HS384', 'none', 'None', 'NONE', '']) {
        const jwt = jwtWith({ alg }, input => createHmac('sha256', secret).update(input).digest())
        t.equal(algorithmOf(jwt), undefined, alg)
      }
    }
    const bytes = () => Buffer.alloc(256)
    for (const alg of [
      'RS1',
      'RS384',
      'RS512',
      'PS384',
      'PS512',
      'ES512',
      'ES256K',
      'Ed448',
      'es256',
      'toString',
      ['ES256'],
      {},
      1,
      null
    ]) {
      t.equal(algorithmOf(jwtWith({ alg }, bytes)), undefined, String(alg))
    }
    t.equal(algorithmOf(jwtWith({}, bytes)), undefined)
  }
)

t.test(
  'a key is for the algorithm that it was registered with: RS256 with a key for PS256 is refused (RFC 8725 §3.1)',
  async t => {
    for (const [registered, asserted] of [
      ['PS256', 'RS256'],
      ['RS256', 'PS256']
    ] as const) {
      const key = keyOf(registered)
      const padding = asserted === 'PS256' ? constants.RSA_PKCS1_PSS_PADDING : constants.RSA_PKCS1_PADDING
      const jwt = jwtWith({ alg: asserted }, input =>
        sign('sha256', Buffer.from(input), { key: key.privateKey, padding, saltLength: 32 })
      )
      t.equal(isBy(jwt, { ...key, credential: { ...key.credential, alg: asserted } }), true, 'the signature is right')
      t.equal(isBy(jwt, key), false, `${asserted} with a key for ${registered}`)
    }
  }
)

t.test('the salt of PS256 has the length of the digest (RFC 7518 §3.5)', async t => {
  const key = keyOf('PS256')
  const padding = constants.RSA_PKCS1_PSS_PADDING
  const salted = (saltLength: number) =>
    jwtWith({ alg: 'PS256' }, input => sign('sha256', Buffer.from(input), { key: key.privateKey, padding, saltLength }))
  t.equal(isBy(salted(32), key), true)
  for (const saltLength of [0, 20, 64]) t.equal(isBy(salted(saltLength), key), false, String(saltLength))
})

t.test('an ECDSA signature in DER is refused, and so are r and s of zero (RFC 7518 §3.4)', async t => {
  for (const [alg, digest, bytes] of [
    ['ES256', 'sha256', 64],
    ['ES384', 'sha384', 96]
  ] as const) {
    const key = keyOf(alg)
    const der = jwtWith({ alg }, input => sign(digest, Buffer.from(input), { key: key.privateKey, dsaEncoding: 'der' }))
    t.equal(algorithmOf(der), undefined, 'its length')
    for (const signature of [Buffer.alloc(bytes), Buffer.alloc(bytes, 0xff)]) {
      t.equal(
        isBy(
          jwtWith({ alg }, () => signature),
          key
        ),
        false
      )
    }
    for (const wrong of [bytes - 1, bytes + 1, 2 * bytes]) {
      t.equal(algorithmOf(jwtWith({ alg }, () => Buffer.alloc(wrong, 1))), undefined)
    }
  }
})

// [ASSERTION-21]
t.test('a refusal takes the work of two keys, whatever keys the client has and whichever was tried before', async t => {
  const large = await makeClientKey('PS256', 3_072)
  const two = (one: ClientKey, other: ClientKey) => [one.credential, other.credential]
  for (const alg of ALGORITHMS) {
    const jwt = jwtWith({ alg }, input => {
      const { privateKey } = generate(alg)
      if (alg === 'EdDSA') return sign(null, Buffer.from(input), privateKey)
      const padding = alg === 'PS256' ? { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 32 } : {}
      return sign(alg === 'ES384' ? 'sha384' : 'sha256', Buffer.from(input), {
        key: privateKey,
        dsaEncoding: 'ieee-p1363',
        ...padding
      })
    })
    const another = keyOf(alg === 'ES256' ? 'ES384' : 'ES256')
    for (const [what, rows] of [
      ['no key', [[]]],
      ['a key', [[fresh(keyOf(alg)).credential]]],
      ['a key that is in the cache', [[keyOf(alg).credential], [keyOf(alg).credential]]],
      ['two keys', [two(fresh(keyOf(alg)), fresh(keyOf(alg, others)))]],
      ['a key of another kind', [two(another, large)]],
      ['two keys, read twice', [two(keyOf(alg), keyOf(alg, others)), two(fresh(keyOf(alg)), fresh(keyOf(alg, others)))]]
    ] as const) {
      const signature = signatureOf(jwt)
      for (const row of rows) for (const key of row) t.equal(signature?.isBy(key), false)
      signature?.padTo(2)
      t.equal(signature?.verified, 2, `${alg}: ${what}`)
    }
  }
})

/** The same key as it is read again. */
function fresh({ privateKey, credential }: ClientKey): ClientKey {
  return { privateKey, credential: structuredClone(credential) }
}

function generate(alg: KeyCredential['alg']) {
  if (alg === 'ES256') return generateKeyPairSync('ec', { namedCurve: 'P-256' })
  if (alg === 'ES384') return generateKeyPairSync('ec', { namedCurve: 'P-384' })
  return alg === 'EdDSA' ? generateKeyPairSync('ed25519') : generateKeyPairSync('rsa', { modulusLength: 2_048 })
}

t.test('an RSA signature that is no less than the modulus, or of another length, is a decoy to verify', async t => {
  const key = keyOf('RS256')
  for (const bytes of [256, 257, 384, 512]) {
    const signature = signatureOf(jwtWith({ alg: 'RS256' }, () => Buffer.alloc(bytes, 0xff)))
    t.equal(signature?.isBy(key.credential), false)
    t.equal(signature?.verified, 0)
    signature?.padTo(2)
    t.equal(signature?.verified, 2)
  }
  for (const bytes of [255, 513, 1])
    t.equal(signatureOf(jwtWith({ alg: 'RS256' }, () => Buffer.alloc(bytes, 1))), undefined)
})
