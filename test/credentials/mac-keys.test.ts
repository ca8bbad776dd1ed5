import { randomBytes } from 'node:crypto'
import t, { type Test } from 'tap'
import { loadMacKeys } from '../../src/credentials/mac-keys.ts'
import { Sealing } from '../../src/crypto/key-encryption.ts'
import { asServingRole, createDatabase, openTestDatabase, query } from '../fixtures/app/database.ts'
import { insertRegistrationRow } from '../fixtures/app/registration-row.ts'

const [first, second] = [randomBytes(32), randomBytes(32)]

async function startKeys(t: Test) {
  const databaseUrl = await createDatabase(t)
  const db = openTestDatabase(t, asServingRole(databaseUrl))
  const load = (current: Buffer, previous?: Buffer) => loadMacKeys({ db, sealing: new Sealing(current, previous) })
  const rows = async () => (await query(databaseUrl, 'select * from mac_keys order by created_at')).map(Object)
  return { databaseUrl, load, rows }
}

t.test('instances that start at once make one key, and each verifies the MACs of the others', async t => {
  const { load, rows } = await startKeys(t)
  const instances = await Promise.all(Array.from({ length: 6 }, () => load(first)))
  t.equal((await rows()).length, 1)
  const stored = instances.map(keys => keys.create('id', 'secret'))
  for (const keys of instances) {
    for (const mac of stored) t.equal(keys.present('id', 'secret').equals(mac), true)
    t.equal(keys.hasLostKeys, false)
  }
})

// [SECRET-10]
t.test('the key is stored encrypted, and no row of the table opens without KEY_ENCRYPTION_KEY', async t => {
  const { load, rows } = await startKeys(t)
  await load(first)
  const [{ key_id: keyId, encrypted_key: encrypted }] = await rows()
  t.equal(await new Sealing(second).open('secret MACs', keyId, encrypted), undefined)
  t.equal(await new Sealing(first).open('secret MACs', 'another id', encrypted), undefined)
  t.match(await new Sealing(first).open('secret MACs', keyId, encrypted), { isCurrent: true })
})

// [SECRET-11]
t.test('while KEY_ENCRYPTION_KEY is replaced, the key stays the same and is re-encrypted', async t => {
  const { load, rows } = await startKeys(t)
  const before = await load(first)
  const stored = before.create('id', 'secret')
  const [{ encrypted_key: encrypted }] = await rows()
  const during = await load(second, first)
  t.equal(during.present('id', 'secret').equals(stored), true)
  t.not((await rows())[0].encrypted_key, encrypted)
  const after = await load(second)
  t.equal(after.present('id', 'secret').equals(stored), true)
  await before.refresh()
  t.equal(before.present('id', 'secret').equals(stored), true, 'an instance that cannot decrypt it any more keeps it')
  t.equal(before.hasLostKeys, false)
  t.equal((await rows()).length, 1)
})

t.test(
  'when KEY_ENCRYPTION_KEY is lost a new key is made, and the old one is deleted when no MAC needs it',
  async t => {
    const { databaseUrl, load, rows } = await startKeys(t)
    const lost = (await load(first)).create('id', 'secret')
    const { clientId } = await insertRegistrationRow(databaseUrl, { expiresAt: 1, armedAt: 0 })
    const setKey = (keyId: string, bytes: number) =>
      query(databaseUrl, 'update registrations set secret_mac_key_id = $2, secret_mac = $3 where client_id = $1', [
        clientId,
        keyId,
        randomBytes(bytes)
      ])
    await setKey(lost.keyId, 32)
    const keys = await load(second)
    t.equal(keys.hasLostKeys, true)
    t.equal(keys.isLost(lost.keyId), true)
    t.equal(keys.present('id', 'secret').equals(lost), false)
    await keys.refresh()
    t.equal((await rows()).length, 2)
    await setKey(keys.create('id', 'secret').keyId, 32)
    await keys.refresh()
    t.equal(keys.hasLostKeys, false)
    t.same(
      (await rows()).map(row => row.key_id),
      [keys.create('id', 'secret').keyId]
    )
  }
)

t.test('a registration whose credentials are not secrets keeps no MAC key', async t => {
  const { databaseUrl, load, rows } = await startKeys(t)
  const lost = (await load(first)).create('id', 'secret')
  await insertRegistrationRow(databaseUrl, { expiresAt: 1, armedAt: 0 })
  const key = `credential = '{"kind":"key"}', secret_hash = null, secret_mac = null, secret_mac_key_id = null`
  const previous = `previous_secret_hash = secret_hash, previous_secret_mac = secret_mac, previous_secret_mac_key_id = '${lost.keyId}',
    previous_secret_created_at = now(), previous_secret_expires_at = now()`
  await query(databaseUrl, `update registrations set ${key}, ${previous}`)
  const keys = await load(second)
  await keys.refresh()
  t.equal(keys.hasLostKeys, true, 'the previous credential is a secret under the lost key')
  await query(
    databaseUrl,
    `update registrations set previous_credential = '{"kind":"key"}', previous_secret_hash = null, previous_secret_mac = null,
       previous_secret_mac_key_id = null`
  )
  await keys.refresh()
  t.equal(keys.hasLostKeys, false)
  t.same(
    (await rows()).map(row => row.key_id),
    [keys.create('id', 'secret').keyId]
  )
})

t.test('a key that another instance has made is learned when a MAC under it is met', async t => {
  const { databaseUrl, load } = await startKeys(t)
  const keys = await load(first)
  await query(databaseUrl, 'delete from mac_keys')
  const stored = (await load(first)).create('id', 'secret')
  t.equal(keys.present('id', 'secret').equals(stored), false)
  await Promise.all([keys.learn([stored.keyId]), keys.learn([stored.keyId])])
  t.equal(keys.present('id', 'secret').equals(stored), true)
  await keys.learn(['no such key'])
  t.equal(keys.isLost('no such key'), true)
})
