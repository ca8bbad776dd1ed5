import { createPublicKey, generateKeyPairSync, type JsonWebKey } from 'node:crypto'
import { calculateJwkThumbprint } from 'jose'
import t from 'tap'
import { type Jwk, publicKeyOf, readPublicKey } from '../../src/credentials/public-key.ts'

const ec = (namedCurve: string) => generateKeyPairSync('ec', { namedCurve })
const rsa = (modulusLength: number, publicExponent = 65_537) =>
  generateKeyPairSync('rsa', { modulusLength, publicExponent })
const publicHalf = ({ publicKey }: { publicKey: { export: (options: { format: 'jwk' }) => JsonWebKey } }) =>
  publicKey.export({ format: 'jwk' })

const P256 = ec('P-256')
const RSA = rsa(2_048)
const p256 = publicHalf(P256)
const p384 = publicHalf(ec('P-384'))
const ed25519 = publicHalf(generateKeyPairSync('ed25519'))
const rsa2048 = publicHalf(RSA)

/** Returns each fault as its member and code. */
function faultsOf(jwk: Jwk): string[] {
  const read = readPublicKey(jwk)
  return 'faults' in read ? read.faults.map(({ member = '', code }) => `${member} ${code}`) : []
}

function detailsOf(jwk: Jwk): string {
  return JSON.stringify(readPublicKey(jwk))
}

t.test('accepted keys are EC P-256 and P-384, Ed25519, and RSA; each has one algorithm', async t => {
  for (const [jwk, alg] of [
    [p256, 'ES256'],
    [p384, 'ES384'],
    [ed25519, 'EdDSA'],
    [rsa2048, 'PS256'],
    [publicHalf(rsa(4_096)), 'PS256'],
    [{ ...p256, alg: 'ES256' }, 'ES256'],
    [{ ...p384, alg: 'ES384' }, 'ES384'],
    [{ ...ed25519, alg: 'EdDSA' }, 'EdDSA'],
    [{ ...ed25519, alg: 'Ed25519' }, 'EdDSA'],
    [{ ...rsa2048, alg: 'PS256' }, 'PS256'],
    [{ ...rsa2048, alg: 'RS256' }, 'RS256']
  ] as const) {
    t.match(readPublicKey(jwk), { key: { kind: 'key', alg } }, `${jwk.kty} ${jwk.crv} ${jwk['alg']}`)
  }
})

t.test('the id of a key is its thumbprint, whatever else the JWK holds (RFC 7638)', async t => {
  for (const jwk of [p256, p384, ed25519, rsa2048]) {
    const extended = {
      kid: 'mine',
      use: 'sig',
      key_ops: ['verify'],
      x5c: ['…'],
      ...jwk,
      ext: true,
      unknown: { a: [1] }
    }
    const read = readPublicKey(extended)
    if ('faults' in read) throw new Error(detailsOf(extended))
    t.equal(read.key.keyId, await calculateJwkThumbprint(jwk))
    t.same(read.key.jwk, jwk, 'and nothing else is kept')
    t.ok(publicKeyOf(read.key).equals(createPublicKey({ key: jwk, format: 'jwk' })))
  }
})

t.test('a private or a symmetric key is refused, and the answer does not repeat it', async t => {
  const ecPrivate = P256.privateKey.export({ format: 'jwk' })
  t.same(faultsOf(ecPrivate), ['d private_key'])
  t.notMatch(detailsOf(ecPrivate), String(ecPrivate.d))
  const rsaPrivate = RSA.privateKey.export({ format: 'jwk' })
  t.same(
    faultsOf(rsaPrivate),
    ['d', 'p', 'q', 'dp', 'dq', 'qi'].map(member => `${member} private_key`)
  )
  t.same(faultsOf({ ...rsa2048, oth: [] }), ['oth private_key'])
  t.same(faultsOf({ ...p256, d: null }), ['d private_key'])
  t.same(faultsOf({ kty: 'oct', k: 'c2VjcmV0' }), ['k private_key', ' unsupported_key'])
  t.same(faultsOf({ kty: 'AKP', priv: 'c2VjcmV0' }), ['priv private_key', ' unsupported_key'])
})

t.test('keys of other types and curves are refused', async t => {
  for (const jwk of [
    {},
    { kty: 'oct' },
    { kty: 'EC' },
    { kty: 1 },
    { ...p256, kty: 'ec' },
    { keys: [p256] },
    publicHalf(ec('P-521')),
    publicHalf(ec('secp256k1')),
    publicHalf(generateKeyPairSync('x25519')),
    publicHalf(generateKeyPairSync('ed448'))
  ]) {
    t.same(faultsOf(jwk), [' unsupported_key'], JSON.stringify(jwk).slice(0, 60))
  }
})

t.test('a use, an operation or an algorithm that does not fit is refused', async t => {
  t.same(faultsOf({ ...p256, use: 'enc' }), ['use invalid_value'])
  t.same(faultsOf({ ...p256, use: null }), ['use invalid_value'])
  t.same(faultsOf({ ...p256, key_ops: ['encrypt'] }), ['key_ops invalid_value'])
  t.same(faultsOf({ ...p256, key_ops: 'verify' }), ['key_ops invalid_value'])
  for (const alg of ['ES384', 'RS256', 'HS256', 'none', 'es256', '', null, 1, ['ES256']]) {
    t.same(faultsOf({ ...p256, alg }), ['alg invalid_value'], String(alg))
  }
  for (const alg of ['RS384', 'RS512', 'PS384', 'RSA-OAEP', 'ES256', 'Ed25519']) {
    t.same(faultsOf({ ...rsa2048, alg }), ['alg invalid_value'], alg)
  }
})

// [INPUT-30]
t.test('a point that is not on its curve is refused', async t => {
  const zero = Buffer.alloc(32).toString('base64url')
  t.same(faultsOf({ ...p256, x: p256.y, y: p256.x }), [' invalid_value'])
  t.same(faultsOf({ ...p256, x: zero, y: zero }), [' invalid_value'])
  t.same(faultsOf({ ...p256, y: undefined }), [' invalid_value'])
  t.same(faultsOf({ ...p256, x: 5 }), [' invalid_value'])
  t.same(faultsOf({ ...p256, crv: 'P-384' }), [' invalid_value'])
  t.match(detailsOf({ ...p256, x: zero }), 'is not a public key on P-256')
})

// [INPUT-31]
t.test('an Ed25519 key that is no point, or a point of small order, is refused (RFC 8032 §5.1)', async t => {
  const encoded = (hex: string) => ({ ...ed25519, x: Buffer.from(hex, 'hex').toString('base64url') })
  // The eight points of small order, and encodings of them that are not canonical.
  for (const hex of [
    `01${'00'.repeat(31)}`,
    `ec${'ff'.repeat(30)}7f`,
    '00'.repeat(32),
    `${'00'.repeat(31)}80`,
    'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a',
    'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa',
    '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05',
    '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85',
    `01${'00'.repeat(30)}80`,
    `ec${'ff'.repeat(31)}`,
    `ed${'ff'.repeat(30)}7f`,
    `ee${'ff'.repeat(30)}7f`,
    'ff'.repeat(32),
    // y = 2 is the height of no point.
    `02${'00'.repeat(31)}`
  ]) {
    t.same(faultsOf(encoded(hex)), ['x weak_key'], hex)
  }
  t.same(faultsOf({ ...ed25519, x: Buffer.alloc(31, 1).toString('base64url') }), [' invalid_value'])
  for (let index = 0; index < 20; index++) t.same(faultsOf(publicHalf(generateKeyPairSync('ed25519'))), [])
})

t.test('an RSA modulus with a factor under 1,000 is refused', async t => {
  const modulus = BigInt(`0x${Buffer.from(String(rsa2048.n), 'base64url').toString('hex')}`)
  const multipleOf = (factor: bigint) => {
    const near = modulus - (modulus % (2n * factor)) - factor
    return { ...rsa2048, n: Buffer.from(near.toString(16), 'hex').toString('base64url') }
  }
  for (const factor of [3n, 5n, 7n, 31n, 499n, 991n, 997n]) {
    t.same(faultsOf(multipleOf(factor)), ['n weak_key'], `${factor}`)
    t.match(detailsOf(multipleOf(factor)), 'must be the product of two large primes')
  }
  t.same(faultsOf(rsa2048), [])
})

t.test('RSA keys have 2048 to 4096 bits, an odd modulus and the exponent 65537', async t => {
  const bits = (count: number) => Buffer.alloc(count / 8, 255).toString('base64url')
  t.same(faultsOf(publicHalf(rsa(1_024))), ['n weak_key'])
  t.same(faultsOf({ ...rsa2048, n: bits(2_040) }), ['n weak_key'])
  t.same(faultsOf({ ...rsa2048, n: bits(4_104) }), ['n weak_key'])
  t.same(faultsOf({ ...rsa2048, n: Buffer.alloc(256, 254).toString('base64url') }), ['n weak_key'])
  const exponent = (...bytes: number[]) => ({ ...rsa2048, e: Buffer.from(bytes).toString('base64url') })
  const others = [[1], [2], [3], [17], [1, 0, 0], [1, 0, 2], [1, 0, 3], [255, 255, 255, 255], [1, 0, 0, 0, 1]]
  for (const bytes of [...others, Array(256).fill(255)]) {
    t.same(faultsOf(exponent(...bytes)), ['e weak_key'], bytes.slice(0, 5).join(' '))
  }
  t.same(faultsOf(exponent(1, 0, 1)), [])
  t.same(faultsOf({ kty: 'RSA' }), [' invalid_value'])
})

t.test('members are spelt as RFC 7518 §6 asks for, so that every program computes the same thumbprint', async t => {
  const padded = (text: unknown) => Buffer.concat([Buffer.alloc(1), Buffer.from(String(text), 'base64url')])
  t.same(faultsOf({ ...p256, x: `${p256.x}=` }), ['x invalid_value'])
  t.same(faultsOf({ ...rsa2048, n: padded(rsa2048.n).toString('base64url') }), ['n invalid_value'])
  t.same(faultsOf({ ...rsa2048, e: 'AAEAAQ' }), ['e invalid_value'])
  t.same(faultsOf({ ...rsa2048, n: '!', e: '!' }), ['e invalid_value', 'n invalid_value'])
})

t.test('a JWK has at most 4 KiB', async t => {
  const limit = 4_096 - Buffer.byteLength(JSON.stringify({ ...p256, kid: '' }))
  t.same(faultsOf({ ...p256, kid: 'a'.repeat(limit) }), [])
  t.same(faultsOf({ ...p256, kid: 'a'.repeat(limit + 1) }), [' invalid_length'])
  t.same(faultsOf({ ...p256, kid: 'é'.repeat(limit / 2 + 1) }), [' invalid_length'])
})

t.test('every fault of a JWK is found', async t => {
  t.same(faultsOf({ ...p256, d: 'x', use: 'enc', alg: 'RS256', y: p256.x }), [
    'd private_key',
    'use invalid_value',
    'alg invalid_value',
    ' invalid_value'
  ])
})
