import { randomBytes } from 'node:crypto'
import t, { type Test } from 'tap'
import { loadMacKeys, type MacKeys } from '../../../src/credentials/mac-keys.ts'
import { createClientSecret } from '../../../src/credentials/secret.ts'
import { Sealing } from '../../../src/crypto/key-encryption.ts'
import { Registry } from '../../../src/metrics/registry.ts'
import { startApp } from '../../fixtures/app/app.ts'
import { claimsOf, makeClientKey, requestWithAssertion, signAssertion } from '../../fixtures/app/assertion.ts'
import { asServingRole, createDatabase, openTestDatabase, query } from '../../fixtures/app/database.ts'
import type { Grantd } from '../../fixtures/app/grantd.ts'

const UNKNOWN_ID = '0'.repeat(20)

/** Registrations that were made before KEY_ENCRYPTION_KEY was lost, on an instance that was started after that. */
async function startAfterLoss(t: Test, registrations: number) {
  const databaseUrl = await createDatabase(t)
  const load = (key: Buffer): Promise<MacKeys> =>
    loadMacKeys({ db: openTestDatabase(t, asServingRole(databaseUrl)), sealing: new Sealing(key) })
  const before = await startApp(t, { databaseUrl, macKeys: await load(randomBytes(32)) })
  const clients = []
  for (let index = 0; index < registrations; index++) clients.push(await before.register())
  const macKeys = await load(randomBytes(32))
  const metrics = new Registry()
  const grantd = await startApp(t, { databaseUrl, macKeys, metrics, environment: { TOKEN_FAILURE_LIMIT: '100000' } })
  return { grantd, clients, macKeys, metrics, databaseUrl }
}

const versionOf = async (grantd: Grantd, path: string) => (await grantd.asAdmin('GET', path)).headers.etag

// [SECRET-8]
t.test('after the loss of KEY_ENCRYPTION_KEY every secret works at once, and needs no hash from then on', async t => {
  const { grantd, clients, macKeys, databaseUrl } = await startAfterLoss(t, 3)
  t.equal(macKeys.hasLostKeys, true)
  for (const client of clients) {
    const version = await versionOf(grantd, client.path)
    t.equal((await grantd.exchange(client)).status, 200)
    t.equal(await versionOf(grantd, client.path), version, 'it is no administrative change')
  }
  const rows = (await query(databaseUrl, 'select client_id, secret_mac_key_id, secret_digest from registrations')).map(
    Object
  )
  for (const { clientId, clientSecret } of clients) {
    const { secret_digest: digest } = rows.find(row => row.client_id === clientId)
    t.same(macKeys.digests(clientSecret), [digest], 'and it is found by its digest')
  }
  t.same(new Set(rows.map(row => row.secret_mac_key_id)), new Set([macKeys.create('', '').keyId]))
  await macKeys.refresh()
  t.equal(macKeys.hasLostKeys, false)
  const other = await startApp(t, { databaseUrl, macKeys })
  for (const client of clients) t.equal((await other.exchange(client)).status, 200)
})

t.test('both secrets of a rotation work after the loss of KEY_ENCRYPTION_KEY', async t => {
  const databaseUrl = await createDatabase(t)
  const load = (key: Buffer) =>
    loadMacKeys({ db: openTestDatabase(t, asServingRole(databaseUrl)), sealing: new Sealing(key) })
  const before = await startApp(t, { databaseUrl, macKeys: await load(randomBytes(32)) })
  const first = await before.register()
  const second = (await before.asAdmin('POST', `${first.path}/rotate-secret`)).json()
  const grantd = await startApp(t, { databaseUrl, macKeys: await load(randomBytes(32)) })
  for (let time = 0; time < 2; time++) {
    t.equal((await grantd.exchange(first)).status, 200)
    t.equal((await grantd.exchange({ ...first, clientSecret: second.clientSecret })).status, 200)
  }
})

t.test('after the loss of KEY_ENCRYPTION_KEY a public key works, and the secret before it', async t => {
  const databaseUrl = await createDatabase(t)
  const load = (key: Buffer) =>
    loadMacKeys({ db: openTestDatabase(t, asServingRole(databaseUrl)), sealing: new Sealing(key) })
  const before = await startApp(t, { databaseUrl, macKeys: await load(randomBytes(32)) })
  const moved = await before.register()
  const key = await makeClientKey()
  const rotation = { body: { publicKey: key.credential.jwk } }
  t.equal((await before.asAdmin('POST', `${moved.path}/rotate-secret`, rotation)).status, 201)
  const grantd = await startApp(t, { databaseUrl, macKeys: await load(randomBytes(32)) })
  for (let time = 0; time < 2; time++) {
    const claims = claimsOf(moved.clientId, grantd.baseUrl, Date.now())
    t.equal((await requestWithAssertion(grantd, await signAssertion(key, claims))).status, 200)
    t.equal((await grantd.exchange(moved)).status, 200)
    t.equal((await grantd.exchange({ ...moved, clientSecret: createClientSecret('grantd_') })).status, 401)
  }
})

// [SECRET-9]
t.test('until all are restored, a wrong secret costs the same work for every client id', async t => {
  const { grantd, clients, macKeys, metrics } = await startAfterLoss(t, 2)
  const [restored, lost] = clients
  if (restored === undefined || lost === undefined) throw new Error('not registered')
  t.equal((await grantd.exchange(restored)).status, 200)
  t.equal(macKeys.hasLostKeys, true)
  for (const { clientId } of [restored, lost, { clientId: UNKNOWN_ID }]) {
    const before = await argon2Runs(metrics)
    const answer = await grantd.exchange({ clientId, clientSecret: createClientSecret('grantd_') })
    t.equal(answer.status, 401)
    t.equal((await argon2Runs(metrics)) - before, 1, clientId)
  }
  t.equal((await grantd.exchange(restored)).status, 200)
})

t.test(
  'a change during the verification of a hash counts: a client that is disabled meanwhile gets no token',
  async t => {
    const { grantd, clients, databaseUrl } = await startAfterLoss(t, 1)
    const [client] = clients
    if (client === undefined) throw new Error('not registered')
    // As the MAC is stored, the administrator's change is committed.
    await query(
      databaseUrl,
      `create function disable() returns trigger language plpgsql as
       $$ begin new.enabled := false; new.version := old.version + 1; return new; end $$;
     create trigger disable before update of secret_mac on registrations for each row execute function disable()`
    )
    const answer = await grantd.exchange(client)
    t.match(answer.json(), { error: 'invalid_client', error_description: /disabled/ })
  }
)

async function argon2Runs(metrics: Registry): Promise<number> {
  const samples = (await metrics.read()).find(({ name }) => name === 'grantd_argon2_total')?.samples
  return samples?.['{gate="token"}'] ?? Number.NaN
}
