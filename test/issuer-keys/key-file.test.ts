import { generateKeyPairSync } from 'node:crypto'
import { truncateSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import t, { type Test } from 'tap'
import { MAX_KEY_SET_BYTES, readKeyFile } from '../../src/issuer-keys/key-file.ts'
import { temporaryFolder } from '../fixtures/run/process.ts'

const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2_048 })
const jwk = { ...publicKey.export({ format: 'jwk' }), kid: 'first', alg: 'RS256', use: 'sig' }

function fileWith(t: Test, content: string): string {
  const file = path.join(temporaryFolder(t), 'jwks.json')
  writeFileSync(file, content)
  return file
}

t.test('a JSON Web Key Set is read as it is (RFC 7517 §5)', async t => {
  t.same(readKeyFile(fileWith(t, JSON.stringify({ keys: [jwk] }))), { keys: [jwk] })
})

t.test(
  'the keys of a SPIFFE bundle for JWT-SVIDs verify signatures (SPIFFE Trust Domain and Bundle §4.2.2)',
  async t => {
    const file = fileWith(t, JSON.stringify({ spiffe_sequence: 1, keys: [{ ...jwk, use: 'jwt-svid' }] }))
    t.same(readKeyFile(file), { keys: [jwk] })
  }
)

t.test('a file that is no set of public keys is refused, and the fault names the file and what is wrong', async t => {
  const canary = 'CANARY-5f1d7c'
  for (const [content, fault] of [
    ['', /is not JSON/],
    [canary, /is not JSON/],
    [`{"keys":[{"kty":"${canary}`, /is not JSON/],
    ['null', /has no list of keys/],
    ['[]', /has no list of keys/],
    [JSON.stringify(jwk), /has no list of keys/],
    [JSON.stringify({ keys: jwk }), /has no list of keys/],
    [JSON.stringify({ keys: [] }), /has an empty list of keys/],
    [JSON.stringify({ keys: [null] }), /key 1 .* is not a JSON Web Key/],
    [JSON.stringify({ keys: [jwk, canary] }), /key 2 .* is not a JSON Web Key/],
    [JSON.stringify({ keys: [jwk, { ...jwk, n: canary }, { kty: canary }] }), /key 3 .* is not a public key/],
    [JSON.stringify({ keys: [privateKey.export({ format: 'jwk' })] }), /key 1 .* is private/],
    [JSON.stringify({ keys: [{ kty: 'oct', k: canary }] }), /key 1 .* is private/]
  ] as const) {
    const file = fileWith(t, content)
    try {
      readKeyFile(file)
      t.fail(content)
    } catch (error) {
      const message = String(error)
      t.match(message, fault)
      t.match(message, file)
      t.notMatch(message, canary)
    }
  }
})

t.test('a file that is absent, too large, a folder or a device is refused', async t => {
  const folder = temporaryFolder(t)
  const large = fileWith(t, '')
  truncateSync(large, MAX_KEY_SET_BYTES + 1)
  t.throws(() => readKeyFile(path.join(folder, 'absent')), /cannot be read/)
  for (const file of [folder, large, '/dev/zero']) t.throws(() => readKeyFile(file), /is not a file of at most/)
})
