import { randomBytes } from 'node:crypto'
import t, { type Test } from 'tap'
import { Sealing } from '../../src/crypto/key-encryption.ts'
import { type KeySetOptions, loadKeySet } from '../../src/signing-keys/key-set.ts'
import { listSigningKeys, reencryptSigningKey } from '../../src/signing-keys/repository.ts'
import { rotateNow } from '../../src/signing-keys/rotation-by-hand.ts'
import { openSigningKey, reencrypt } from '../../src/signing-keys/signing-key.ts'
import { asServingRole, createDatabase, openTestDatabase, query } from '../fixtures/app/database.ts'
import { spawnServer, temporaryFolder, untilReady } from '../fixtures/run/process.ts'

/** The change of KEY_ENCRYPTION_KEY. */

const [OLD, NEW] = [randomBytes(32), randomBytes(32)]
const HOUR = 3_600_000

const store = (t: Test, url: string, sealing: Sealing, now = Date.now): KeySetOptions => ({
  db: openTestDatabase(t, asServingRole(url)),
  sealing,
  algorithm: 'ES256',
  rotationDays: 90,
  now
})

const seals = async (url: string): Promise<string[]> =>
  (await query(url, 'select private_jwe from signing_keys order by generation')).map(row => Object(row).private_jwe)

async function opensAll(url: string, sealing: Sealing): Promise<boolean> {
  const rows = (await query(url, 'select kid, private_jwe from signing_keys')).map(Object)
  const opened = await Promise.all(rows.map(row => sealing.open('signing keys', row.kid, row.private_jwe)))
  return opened.every(each => each !== undefined)
}

t.test('in two steps: at any time every instance can start, sign and make keys that all others open', async t => {
  const url = await createDatabase(t)
  const before = store(t, url, new Sealing(OLD))
  const { active } = await loadKeySet(before)
  await rotateNow(before)
  // Step 1: all learn to open what the new one seals.
  const ready = store(t, url, new Sealing(OLD, NEW))
  const first = await loadKeySet(ready)
  t.ok(await opensAll(url, new Sealing(OLD)), 'and seal nothing with it')
  // Step 2: one after the other seals with the new one.
  const changed = store(t, url, new Sealing(NEW, OLD))
  const second = await loadKeySet(changed)
  t.ok(await opensAll(url, new Sealing(NEW)))
  await rotateNow(changed)
  await rotateNow(ready)
  for (const keySet of [first, second, await loadKeySet(ready), await loadKeySet(changed)]) {
    await keySet.refresh()
    t.equal(keySet.active.kid, active.kid)
    t.equal((await keySet.published()).length, 4)
  }
  // Step 3: the old one is gone. The last to start of those before had sealed some its way.
  const later = await loadKeySet(store(t, url, new Sealing(NEW, OLD)))
  t.equal((await later.published()).length, 4)
  t.equal((await loadKeySet(store(t, url, new Sealing(NEW)))).active.kid, active.kid)
})

t.test('instances that start at once seal each key anew once, and it stays the same key', async t => {
  const url = await createDatabase(t)
  const { active } = await loadKeySet(store(t, url, new Sealing(OLD)))
  await query(
    url,
    `create table changes (at timestamptz default clock_timestamp());
     create function note_change() returns trigger language plpgsql security definer as
       $$ begin insert into changes default values; return null; end $$;
     create trigger note_change after update on signing_keys for each row execute function note_change()`
  )
  const sets = await Promise.all(Array.from({ length: 6 }, () => loadKeySet(store(t, url, new Sealing(NEW, OLD)))))
  t.same(await query(url, 'select count(*)::int from changes'), [{ count: 1 }])
  for (const keySet of sets) {
    await keySet.refresh()
    t.same(keySet.active.privateKey.export({ format: 'jwk' }), active.privateKey.export({ format: 'jwk' }))
  }
  t.same(await query(url, 'select count(*)::int from changes'), [{ count: 1 }])
})

t.test('an instance that knows the old one alone goes on with the keys it has, but does not start again', async t => {
  const url = await createDatabase(t)
  const old = store(t, url, new Sealing(OLD))
  const running = await loadKeySet(old)
  await loadKeySet(store(t, url, new Sealing(NEW, OLD)))
  await running.refresh()
  t.ok(running.active)
  t.equal(running.cacheSeconds(), 300)
  await t.rejects(loadKeySet(old), /KEY_ENCRYPTION_KEY does not decrypt .* KEY_ENCRYPTION_KEY_PREVIOUS/)
})

t.test('two configurations that both know both do not race for the seal', async t => {
  const url = await createDatabase(t)
  let now = Date.now()
  const one = await loadKeySet(store(t, url, new Sealing(OLD, NEW), () => now))
  const other = await loadKeySet(store(t, url, new Sealing(NEW, OLD), () => now))
  const sealed = await seals(url)
  for (let round = 0; round < 5; round++) {
    await one.refresh()
    await other.refresh()
  }
  t.same(await seals(url), sealed)
  now += HOUR
  await other.refresh()
  t.ok(await opensAll(url, new Sealing(NEW)), 'the one that stays has the last word')
})

t.test('a seal that somebody else has replaced meanwhile stays', async t => {
  const url = await createDatabase(t)
  const { db } = store(t, url, new Sealing(OLD))
  await loadKeySet({ ...store(t, url, new Sealing(OLD)), db })
  const [row] = await listSigningKeys(db)
  const opened = row && (await openSigningKey(new Sealing(OLD), row))
  if (opened === undefined) throw new Error('the key was not decrypted')
  const { signingKey, proof } = opened
  const [first, second] = [await reencrypt(new Sealing(NEW), signingKey), await reencrypt(new Sealing(NEW), signingKey)]
  t.equal(await reencryptSigningKey(db, signingKey.kid, first, randomBytes(32)), false, 'without the proof')
  t.equal(await reencryptSigningKey(db, signingKey.kid, first, proof), true)
  t.equal(await reencryptSigningKey(db, signingKey.kid, second, proof), false, 'too late')
  t.same(await seals(url), [first.private_jwe])
})

t.test('at start a wrong KEY_ENCRYPTION_KEY is told by its name, and no key is made or lost', async t => {
  const DATABASE_URL = await createDatabase(t)
  const DATA_DIR = temporaryFolder(t)
  const environment = { DATABASE_URL, DATA_DIR, KEY_ENCRYPTION_KEY: OLD.toString('base64') }
  const server = await spawnServer(t, environment)
  await untilReady(server)
  server.child.kill('SIGTERM')
  t.equal(await server.exited, 0)
  const before = await query(DATABASE_URL, 'select * from signing_keys')
  const wrong = await spawnServer(t, { ...environment, KEY_ENCRYPTION_KEY: NEW.toString('base64') })
  t.equal(await wrong.exited, 1)
  t.match(wrong.output(), /does not start: KEY_ENCRYPTION_KEY does not decrypt the signing key/)
  t.same(await query(DATABASE_URL, 'select * from signing_keys'), before)
  const both = await spawnServer(t, {
    ...environment,
    KEY_ENCRYPTION_KEY: NEW.toString('base64'),
    KEY_ENCRYPTION_KEY_PREVIOUS: OLD.toString('base64')
  })
  await untilReady(both)
  t.ok(await opensAll(DATABASE_URL, new Sealing(NEW)))
})
