import { generateKeyPairSync } from 'node:crypto'
import { decodeJwt } from 'jose'
import t from 'tap'
import { DatabaseUnavailable } from '../../../src/database/errors.ts'
import type { RotatingKeySet } from '../../../src/signing-keys/key-set.ts'
import type { SigningKey } from '../../../src/signing-keys/signing-key.ts'
import { Clock, startApp } from '../../fixtures/app/app.ts'
import { query, withClient } from '../../fixtures/app/database.ts'
import type { Grantd } from '../../fixtures/app/grantd.ts'
import { DAY_MS } from '../../fixtures/app/registration.ts'

/** A client that this instance has cached, and an administrator who changes it on another instance. */
async function startKnown(t: Parameters<typeof startApp>[0], members: Record<string, unknown> = {}) {
  const clock = new Clock()
  const grantd = await startApp(t, { now: clock.now })
  const other = await startApp(t, { now: clock.now, databaseUrl: grantd.databaseUrl })
  const client = await grantd.register({ expiresAt: new Date(clock.time + 60 * DAY_MS).toISOString(), ...members })
  for (let time = 0; time < 2; time++) t.equal((await grantd.exchange(client)).status, 200)
  return { clock, grantd, client, change: (body: unknown) => other.asAdmin('PATCH', client.path, { body }) }
}

const lastUsedAt = async (grantd: Grantd, path: string) => (await grantd.asAdmin('GET', path)).json().lastUsedAt

t.test('a change on another instance takes effect on the next exchange of a cached client', async t => {
  const { clock, grantd, client, change } = await startKnown(t, { scopes: ['a'] })
  const granted = async () => decodeJwt((await grantd.exchange(client)).json().access_token)
  t.equal((await granted())['scope'], 'a')
  await change({ scopes: ['b', 'c'] })
  t.equal((await granted())['scope'], 'b c')
  const asking = await grantd.requestToken({
    client_id: client.clientId,
    client_secret: client.clientSecret,
    scope: 'a'
  })
  t.equal(asking.json().error, 'invalid_scope')
  await change({ enabled: false })
  t.equal((await grantd.exchange(client)).status, 401)
  await change({ enabled: true })
  t.equal((await grantd.exchange(client)).status, 200)
  await change({ expiresAt: new Date(clock.time + 300_000).toISOString() })
  t.equal((await granted()).exp, Math.floor(clock.time / 1_000) + 300)
})

t.test('a new scope of a cached client is granted as soon as the registration has it', async t => {
  const { grantd, client, change } = await startKnown(t, { scopes: ['a'] })
  const ask = () =>
    grantd.requestToken({ client_id: client.clientId, client_secret: client.clientSecret, scope: 'new' })
  t.equal((await ask()).status, 400)
  await change({ scopes: ['a', 'new'] })
  t.equal((await ask()).status, 200)
})

t.test('a cached client that is refused does not move Last used', async t => {
  const { clock, grantd, client, change } = await startKnown(t, { scopes: ['a'] })
  const used = await lastUsedAt(grantd, client.path)
  clock.advance(1_000)
  await grantd.requestToken({ client_id: client.clientId, client_secret: client.clientSecret, scope: 'b' })
  t.equal(await lastUsedAt(grantd, client.path), used)
  await change({ enabled: false })
  t.equal((await grantd.exchange(client)).status, 401)
  t.equal(await lastUsedAt(grantd, client.path), used)
})

t.test('a use is never recorded for a token that cannot be signed', async t => {
  const clock = new Clock()
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  let isKeyGone = false
  const keySet: RotatingKeySet = {
    get active(): SigningKey {
      if (isKeyGone) throw new DatabaseUnavailable('no key may sign')
      return { kid: 'k', algorithm: 'ES256', privateKey, header: '' }
    },
    activeKid: 'k',
    activeTimes: undefined,
    published: async () => [],
    verificationKey: () => undefined,
    learn: async () => {},
    cacheSeconds: () => 0,
    refresh: async () => {}
  }
  const grantd = await startApp(t, { now: clock.now, keySet })
  const client = await grantd.register()
  for (let time = 0; time < 2; time++) t.equal((await grantd.exchange(client)).status, 200)
  const used = await lastUsedAt(grantd, client.path)
  clock.advance(1_000)
  isKeyGone = true
  t.equal((await grantd.exchange(client)).status, 503)
  t.equal(await lastUsedAt(grantd, client.path), used)
})

t.test(
  'a cached client is refused from the instant of its expiry, and served again on the next request after renewal',
  async t => {
    const { clock, grantd, client, change } = await startKnown(t)
    clock.advance(60 * DAY_MS - 1)
    t.equal((await grantd.exchange(client)).status, 200)
    clock.advance(1)
    t.equal((await grantd.exchange(client)).status, 401)
    await change({ expiresAt: new Date(clock.time + DAY_MS).toISOString() })
    t.equal((await grantd.exchange(client)).status, 200)
  }
)

t.test('a cached client whose Last used row is gone gets a token, and the row is created again', async t => {
  const { clock, grantd, client } = await startKnown(t)
  await query(grantd.databaseUrl, 'delete from registration_last_used')
  t.equal((await grantd.exchange(client)).status, 200)
  t.equal(await lastUsedAt(grantd, client.path), new Date(clock.time).toISOString())
})

t.test(
  'while Last used cannot be written, a cached client gets tokens, and disabling it still takes effect',
  async t => {
    const { clock, grantd, client, change } = await startKnown(t)
    const before = await lastUsedAt(grantd, client.path)
    clock.advance(1_000)
    await withClient(grantd.databaseUrl, async locker => {
      await locker.query('begin')
      await locker.query('lock table registration_last_used in exclusive mode')
      for (let time = 0; time < 3; time++) t.equal((await grantd.exchange(client)).status, 200)
      t.equal(await lastUsedAt(grantd, client.path), before)
      await change({ enabled: false })
      t.equal((await grantd.exchange(client)).status, 401)
      await locker.query('commit')
    })
  }
)

t.test('the answer announces the expiry in the last 30 days before it, and only then (Sunset, RFC 8594)', async t => {
  const { clock, grantd, client } = await startKnown(t)
  const sunset = async () => (await grantd.exchange(client)).headers['sunset']
  clock.advance(30 * DAY_MS - 1)
  t.equal(await sunset(), undefined)
  clock.advance(1)
  const expiresAt = new Date(clock.time + 30 * DAY_MS)
  t.equal(await sunset(), expiresAt.toUTCString())
  t.match(expiresAt.toUTCString(), /^[A-Z][a-z]{2}, \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} GMT$/, 'an HTTP date')
  clock.advance(29 * DAY_MS)
  t.equal(await sunset(), expiresAt.toUTCString())
  const refused = await grantd.exchange({ ...client, clientSecret: 'wrong' })
  t.equal(refused.headers['sunset'], undefined)
})
