import { createHmac, hkdfSync, randomBytes } from 'node:crypto'
import t from 'tap'
import { loadMacKeys } from '../../src/credentials/mac-keys.ts'
import { createClientSecret } from '../../src/credentials/secret.ts'
import { deriveDigestKey, digestOf } from '../../src/credentials/secret-digest.ts'
import { macOf } from '../../src/credentials/secret-mac.ts'
import { Sealing } from '../../src/crypto/key-encryption.ts'
import { createDatabase, openTestDatabase } from '../fixtures/app/database.ts'

t.test('a digest is 16 bytes of HMAC-SHA-256 under a key of its own, derived by HKDF (RFC 2104, RFC 5869)', async t => {
  const macKey = randomBytes(32)
  const derived = Buffer.from(hkdfSync('sha256', macKey, '', 'grantd secret digests', 32))
  const digest = digestOf(deriveDigestKey(macKey), 'secret')
  t.same(digest, createHmac('sha256', derived).update('secret').digest().subarray(0, 16))
  t.notSame(digest, macOf(macKey, '', 'secret').subarray(0, 16), 'and it is not a part of a MAC')
})

t.test('the digest of a secret does not depend on the client, and comes with the MAC of each new secret', async t => {
  const db = openTestDatabase(t, await createDatabase(t))
  const macKeys = await loadMacKeys({ db, sealing: new Sealing(randomBytes(32)) })
  const secret = createClientSecret('grantd_')
  const { digest, keyId } = macKeys.create('one', secret)
  t.same(macKeys.create('another', secret).digest, digest)
  t.same(macKeys.digest(keyId, secret), digest)
  t.same(macKeys.digests(secret), [digest])
  t.notSame(macKeys.create('one', createClientSecret('grantd_')).digest, digest)
  t.equal(macKeys.digest('no such key', secret), undefined)
})

t.test('while KEY_ENCRYPTION_KEY is replaced the digests stay the same, and when it is lost they change', async t => {
  const db = openTestDatabase(t, await createDatabase(t))
  const [first, second, third] = [randomBytes(32), randomBytes(32), randomBytes(32)]
  const before = (await loadMacKeys({ db, sealing: new Sealing(first) })).create('id', 'secret')
  const replaced = await loadMacKeys({ db, sealing: new Sealing(second, first) })
  t.same(replaced.create('id', 'secret').digest, before.digest)
  const lost = await loadMacKeys({ db, sealing: new Sealing(third) })
  t.notSame(lost.create('id', 'secret').digest, before.digest)
  t.equal(lost.digest(before.keyId, 'secret'), undefined)
})
