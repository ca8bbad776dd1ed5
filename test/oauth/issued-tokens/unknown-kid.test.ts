import { randomBytes } from 'node:crypto'
import { decodeProtectedHeader } from 'jose'
import t, { type Test } from 'tap'
import { Sealing } from '../../../src/crypto/key-encryption.ts'
import { loadKeySet } from '../../../src/signing-keys/key-set.ts'
import { replaceCompromised } from '../../../src/signing-keys/rotation-by-hand.ts'
import { startApp } from '../../fixtures/app/app.ts'
import { asServingRole, createDatabase, openTestDatabase, query } from '../../fixtures/app/database.ts'
import { introspect, postForm, registerGateway, tokenOf } from '../../fixtures/app/introspection.ts'
import { proxyPostgres } from '../../fixtures/faults/tcp-proxy.ts'

/**
 * Two instances on one database, of which the second still has the keys from before a rotation because of a compromise.
 * Neither refreshes them while the test runs.
 */
async function rotated(t: Test) {
  const databaseUrl = await createDatabase(t)
  const { proxy, url: proxied } = await proxyPostgres(t, asServingRole(databaseUrl))
  const keys = { sealing: new Sealing(randomBytes(32)), algorithm: 'ES256' as const, rotationDays: 90, now: Date.now }
  const environment = { ISSUER: 'https://grantd.example' }
  const before = await loadKeySet({ ...keys, db: openTestDatabase(t, proxied) })
  const lagging = await startApp(t, { databaseUrl, environment, keySet: before })
  const gateway = await registerGateway(lagging)
  const client = await lagging.register()
  const old = await tokenOf(lagging, client)
  const { kid } = await replaceCompromised({ ...keys, db: openTestDatabase(t, databaseUrl) })
  const after = await loadKeySet({ ...keys, db: openTestDatabase(t, asServingRole(databaseUrl)) })
  const rotating = await startApp(t, { databaseUrl, environment, keySet: after })
  const token = await tokenOf(rotating, client)
  t.equal(decodeProtectedHeader(token).kid, kid, 'it is of the new key')
  const credentials = { client_id: client.clientId, client_secret: client.clientSecret }
  const revoke = async (text: string) =>
    (await postForm(lagging, '/oauth/revoke', { ...credentials, token: text })).status
  return { databaseUrl, proxy, lagging, rotating, gateway, client, old, token, revoke }
}

const INACTIVE = '{"active":false}'

// [INTROSPECT-11]
t.test('a token of a key that an instance has not read yet is revoked there at once (RFC 7009 §2.1)', async t => {
  const { databaseUrl, lagging, rotating, gateway, token, revoke } = await rotated(t)
  t.equal((await introspect(rotating, gateway, token)).json().active, true)
  t.equal(await revoke(token), 200)
  for (const instance of [rotating, lagging]) t.equal((await introspect(instance, gateway, token)).text, INACTIVE)
  t.equal((await query(databaseUrl, 'select from token_revocations')).length, 1)
})

t.test('a token of a key that an instance has not read yet is active there at once (RFC 7662 §2.2)', async t => {
  const { lagging, gateway, old, token } = await rotated(t)
  t.equal((await introspect(lagging, gateway, old)).json().active, true, 'the lagging instance has read nothing yet')
  t.equal((await introspect(lagging, gateway, token)).json().active, true)
  t.equal((await introspect(lagging, gateway, old)).text, INACTIVE, 'and the destroyed key is gone with it')
})

t.test('while the keys cannot be read, a token of an unknown key is 503, and never called unknown', async t => {
  const { proxy, lagging, gateway, token, revoke } = await rotated(t)
  await proxy.refuse()
  t.equal(await revoke(token), 503)
  t.equal((await introspect(lagging, gateway, token)).status, 503)
})

t.test('a kid that no key has is no token, also after the keys were read', async t => {
  const { databaseUrl, lagging, gateway, token, revoke } = await rotated(t)
  const [, claims, signature] = token.split('.')
  const header = { typ: 'at+jwt', alg: 'ES256', kid: 'unknown' }
  const strange = `${Buffer.from(JSON.stringify(header)).toString('base64url')}.${claims}.${signature}`
  t.equal((await introspect(lagging, gateway, strange)).text, INACTIVE)
  t.equal(await revoke(strange), 200)
  t.equal((await query(databaseUrl, 'select from token_revocations')).length, 0)
})
