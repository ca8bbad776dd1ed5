import { createHmac, randomBytes } from 'node:crypto'
import t from 'tap'
import { macOf, PresentedMacs } from '../../src/credentials/secret-mac.ts'

t.test('a MAC is HMAC-SHA-256 of client id, a zero byte and the secret (RFC 2104)', async t => {
  const key = randomBytes(32)
  t.same(macOf(key, 'id', 'secret'), createHmac('sha256', key).update('id\0secret').digest())
  t.notSame(macOf(key, 'id', 'secret'), macOf(key, 'i', 'dsecret'))
  t.notSame(macOf(key, 'id', 'secret'), macOf(randomBytes(32), 'id', 'secret'))
})

t.test('a presented secret equals its own MAC under each key, and no other MAC', async t => {
  const keys = new Map([
    ['one', randomBytes(32)],
    ['two', randomBytes(32)]
  ])
  const presented = new PresentedMacs(keys, 'id', 'secret')
  for (const [keyId, key] of keys) {
    t.equal(presented.equals({ keyId, mac: macOf(key, 'id', 'secret') }), true)
    t.equal(presented.equals({ keyId, mac: macOf(key, 'id', 'other') }), false)
    t.equal(presented.equals({ keyId, mac: macOf(key, 'other', 'secret') }), false)
    t.equal(presented.equals({ keyId: 'three', mac: macOf(key, 'id', 'secret') }), false)
  }
  const third = randomBytes(32)
  keys.set('three', third)
  t.equal(presented.equals({ keyId: 'three', mac: macOf(third, 'id', 'secret') }), true, 'a key that is learned later')
})
