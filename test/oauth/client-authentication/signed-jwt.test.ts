import { randomBytes } from 'node:crypto'
import fc from 'fast-check'
import t from 'tap'
import { parseSignedJwt } from '../../../src/oauth/client-authentication/signed-jwt.ts'

const encoded = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')
const HEADER = encoded({ alg: 'ES256' })
const CLAIMS = encoded({ iss: 'a' })
const SIGNATURE = Buffer.alloc(64, 7).toString('base64url')

t.test('a JWT is read into its header, its claims, its signature and the bytes that the signature covers', async t => {
  const jwt = parseSignedJwt(`${HEADER}.${CLAIMS}.${SIGNATURE}`)
  t.same(jwt, {
    header: { alg: 'ES256' },
    claims: { iss: 'a' },
    signed: Buffer.from(`${HEADER}.${CLAIMS}`),
    signature: Buffer.alloc(64, 7)
  })
})

t.test('a JWT is read in one form only (RFC 7515 §7.1, RFC 4648 §3.5)', async t => {
  for (const text of [
    ...['', '.', '..', `${HEADER}.${CLAIMS}`, `${HEADER}.${CLAIMS}.`, `.${CLAIMS}.${SIGNATURE}`],
    ...[
      `${HEADER}..${SIGNATURE}`,
      `${HEADER}.${CLAIMS}.${SIGNATURE}.`,
      `${HEADER}.${CLAIMS}.${SIGNATURE}.${SIGNATURE}`
    ],
    // Padding, white space, the other alphabet, and bits that are left over.
    ...[`${HEADER}.${CLAIMS}.${SIGNATURE}==`, `${HEADER}.${CLAIMS} .${SIGNATURE}`, ` ${HEADER}.${CLAIMS}.${SIGNATURE}`],
    ...[`${HEADER}.${CLAIMS}.+/+/`, `${HEADER}.${CLAIMS}.AB`],
    // JSON of other kinds, a byte order mark, and bytes that are not UTF-8.
    ...[[], 'a', 1, null].map(value => `${encoded(value)}.${CLAIMS}.${SIGNATURE}`),
    ...[[], 'a', 1, null].map(value => `${HEADER}.${encoded(value)}.${SIGNATURE}`),
    `${HEADER}.${Buffer.from('{').toString('base64url')}.${SIGNATURE}`,
    `${HEADER}.${Buffer.from('\uFEFF{}').toString('base64url')}.${SIGNATURE}`,
    `${HEADER}.${Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]).toString('base64url')}.${SIGNATURE}`,
    // The JSON serialization (RFC 7515 §7.2).
    JSON.stringify({ protected: HEADER, payload: CLAIMS, signature: SIGNATURE })
  ]) {
    t.equal(parseSignedJwt(text), undefined, text)
  }
})

t.test('of two members of one name the last one counts (RFC 7515 §4, RFC 7519 §4)', async t => {
  const twice = Buffer.from('{"iss":"first","iss":"last"}').toString('base64url')
  t.equal(parseSignedJwt(`${HEADER}.${twice}.${SIGNATURE}`)?.claims['iss'], 'last')
})

t.test('JSON that is nested as deep as the length allows, and __proto__, do no harm', async t => {
  const deep = Buffer.from(`{"a":${'['.repeat(3_000)}${']'.repeat(3_000)}}`).toString('base64url')
  t.ok(parseSignedJwt(`${HEADER}.${deep}.${SIGNATURE}`))
  const proto = Buffer.from('{"__proto__":{"alg":"none"}}').toString('base64url')
  t.equal(parseSignedJwt(`${proto}.${CLAIMS}.${SIGNATURE}`)?.header['alg'], undefined)
})

t.test('no text makes the parser throw, and what it reads is what was sent', async t => {
  const part = fc.oneof(
    fc.string(),
    fc.base64String(),
    fc.uint8Array().map(bytes => Buffer.from(bytes).toString('base64url'))
  )
  fc.assert(
    fc.property(fc.array(part, { maxLength: 5 }), parts => {
      const text = parts.join('.')
      const jwt = parseSignedJwt(text)
      return jwt === undefined || `${jwt.signed}.${jwt.signature.toString('base64url')}` === text
    })
  )
  const signature = randomBytes(64)
  const jwt = parseSignedJwt(`${HEADER}.${CLAIMS}.${signature.toString('base64url')}`)
  t.same(jwt?.signature, signature)
})
