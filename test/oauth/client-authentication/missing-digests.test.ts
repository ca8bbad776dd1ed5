import { randomBytes } from 'node:crypto'
import t, { type Test } from 'tap'
import { startApp } from '../../fixtures/app/app.ts'
import { createDatabase, query } from '../../fixtures/app/database.ts'
import { until } from '../../fixtures/run/until.ts'

const HASH = `$argon2id$v=19$m=19456,t=2,p=1$${'a'.repeat(22)}$${'b'.repeat(43)}`

async function startWithRow(t: Test) {
  const databaseUrl = await createDatabase(t)
  const grantd = await startApp(t, { databaseUrl })
  const client = await grantd.register()
  const row = async () => Object((await query(databaseUrl, 'select * from registrations'))[0])
  const forget = () =>
    query(databaseUrl, 'update registrations set secret_digest = null, previous_secret_digest = null')
  return { databaseUrl, grantd, client, row, forget }
}

t.test('a secret of release 0.2.0 gets its digest at its first exchange, and nothing else changes', async t => {
  const { databaseUrl, grantd, client, row, forget } = await startWithRow(t)
  const made = await row()
  t.equal(made.secret_digest.length, 16)
  await forget()
  t.equal((await grantd.exchange(client)).status, 200)
  await until('it is written', async () => (await row()).secret_digest !== null)
  t.same(await row(), made)

  await forget()
  t.equal((await grantd.exchange(client)).status, 200, 'a client in the cache')
  t.equal((await row()).secret_digest, null, 'is not looked up, so it costs nothing')
  const other = await startApp(t, { databaseUrl })
  t.equal((await other.exchange({ ...client, clientSecret: `${client.clientSecret}x` })).status, 401)
  t.equal((await row()).secret_digest, null, 'a wrong secret adds nothing')
  t.equal((await other.exchange(client)).status, 200)
  await until('another instance looks it up', async () => (await row()).secret_digest !== null)
  t.same(await row(), made)
})

t.test('the previous secret gets its digest too', async t => {
  const { grantd, client, row, forget } = await startWithRow(t)
  const before = await row()
  await grantd.asAdmin('POST', `${client.path}/rotate-secret`)
  const rotated = await row()
  t.same(rotated.previous_secret_digest, before.secret_digest, 'a rotation moves the digest')
  t.notSame(rotated.secret_digest, before.secret_digest)
  await forget()
  t.equal((await grantd.exchange(client)).status, 200)
  await until('it is written', async () => (await row()).previous_secret_digest !== null)
  t.same((await row()).previous_secret_digest, before.secret_digest)
  t.equal((await row()).secret_digest, null)
})

t.test('a rotation by release 0.2.0 moves the digest with the hash, and a replaced secret loses it', async t => {
  const { databaseUrl, client, row } = await startWithRow(t)
  const before = await row()
  const rotate = (sets: string) =>
    query(
      databaseUrl,
      `update registrations set ${sets} secret_hash = $2, secret_mac = $3, secret_created_at = now() where client_id = $1`,
      [client.clientId, HASH + randomBytes(4).toString('hex'), randomBytes(32)]
    )
  await rotate(`previous_secret_hash = secret_hash, previous_secret_mac = secret_mac,
    previous_secret_mac_key_id = secret_mac_key_id, previous_secret_created_at = secret_created_at,
    previous_secret_expires_at = now(), credential_number = credential_number + 1,`)
  const rotated = await row()
  t.same(rotated.previous_secret_digest, before.secret_digest)
  t.equal(rotated.secret_digest, null)
  await query(databaseUrl, 'update registrations set secret_digest = $1', [randomBytes(16)])
  await rotate('')
  t.same((await row()).previous_secret_digest, before.secret_digest, 'the previous secret is still there')
  t.equal((await row()).secret_digest, null)
})
