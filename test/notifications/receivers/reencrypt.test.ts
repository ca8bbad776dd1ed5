import { randomBytes, randomUUID } from 'node:crypto'
import t, { type Test } from 'tap'
import { Sealing } from '../../../src/crypto/key-encryption.ts'
import { createSigningSecret } from '../../../src/notifications/channels/standard-webhooks.ts'
import { reencryptSigningSecrets } from '../../../src/notifications/receivers/reencrypt.ts'
import {
  decryptSigningSecrets,
  encryptSigningSecret,
  SigningSecretLost
} from '../../../src/notifications/receivers/signing-secrets.ts'
import { asServingRole, createDatabase, openTestDatabase, query } from '../../fixtures/app/database.ts'
import { spawnServer, temporaryFolder, untilReady } from '../../fixtures/run/process.ts'
import { until } from '../../fixtures/run/until.ts'

/** The change of KEY_ENCRYPTION_KEY. */

const [OLD, NEW] = [randomBytes(32), randomBytes(32)]
const HOUR_MS = 3_600_000

/** So many webhooks, sealed with the old key; every other one with a previous secret that still signs. */
async function startSealed(t: Test, count: number) {
  const url = await createDatabase(t)
  const sealing = new Sealing(OLD)
  const secrets: string[][] = []
  const rows: { id: string; sealed: string | undefined; previous: string | null }[] = []
  for (let index = 0; index < count; index++) {
    const id = randomUUID()
    const own = index % 2 === 0 ? [createSigningSecret()] : [createSigningSecret(), createSigningSecret()]
    const [sealed, previous = null] = await Promise.all(own.map(secret => encryptSigningSecret(sealing, id, secret)))
    rows.push({ id, sealed, previous })
    secrets.push(own)
  }
  await query(
    url,
    `insert into notice_receivers (id, site_id, kind, target, secret_jwe, previous_secret_jwe, previous_secret_expires_at, created_at)
     select id, 'acme', 'webhook', '{"url": "https://hooks.example.com"}', sealed, previous, case when previous is not null then $2::timestamptz end, now()
     from jsonb_to_recordset($1) as given (id uuid, sealed text, previous text)`,
    [JSON.stringify(rows), new Date(Date.now() + HOUR_MS)]
  )
  await query(
    url,
    `insert into notice_receivers (id, site_id, kind, target, created_at)
     values (gen_random_uuid(), 'acme', 'mail', '{"addresses": ["ops@example.com"]}', now())`
  )
  return { url, secrets: secrets.map(String).sort(), db: openTestDatabase(t, asServingRole(url)) }
}

/** All secrets as this key opens them. @throws Error when it doesn't */
async function opened(url: string, sealing: Sealing): Promise<string[]> {
  const rows = (await query(url, "select * from notice_receivers where kind = 'webhook'")).map(Object)
  return (
    await Promise.all(rows.map(async row => String(await decryptSigningSecrets(sealing, row, Date.now()))))
  ).sort()
}

t.test(
  're-encryption keeps every secret, needs only the new key afterwards, and does each once over many instances',
  async t => {
    const { url, secrets, db } = await startSealed(t, 410)
    const counts = await Promise.all(
      Array.from({ length: 4 }, () => reencryptSigningSecrets({ db, sealing: new Sealing(NEW, OLD) }))
    )
    t.equal(
      counts.reduce((sum, count) => sum + count, 0),
      615,
      'each seal was replaced by one of them'
    )
    t.same(await opened(url, new Sealing(NEW)), secrets)
    await t.rejects(opened(url, new Sealing(OLD)), /KEY_ENCRYPTION_KEY/)
    t.equal(await reencryptSigningSecrets({ db, sealing: new Sealing(NEW, OLD) }), 0, 'there is nothing left to do')
  }
)

t.test('at each step of a key change every instance decrypts every secret', async t => {
  const { url, secrets, db } = await startSealed(t, 4)
  const [before, ready, changed] = [new Sealing(OLD), new Sealing(OLD, NEW), new Sealing(NEW, OLD)]
  await reencryptSigningSecrets({ db, sealing: ready })
  t.same(await opened(url, before), secrets, 'step 1 seals nothing with the new one')
  await reencryptSigningSecrets({ db, sealing: changed })
  t.same(await opened(url, ready), secrets, 'step 2')
  // One that has not changed yet has its hour, and seals its way again.
  await reencryptSigningSecrets({ db, sealing: ready })
  t.same(await opened(url, changed), secrets)
  await reencryptSigningSecrets({ db, sealing: changed })
  t.same(await opened(url, new Sealing(NEW)), secrets, 'step 3: the last to change has the last word')
})

t.test('a secret that no key decrypts stays as it is and does not stop the others', async t => {
  const { url, db } = await startSealed(t, 3)
  await query(
    url,
    "update notice_receivers set secret_jwe = 'x' where id = (select min(id::text)::uuid from notice_receivers where kind = 'webhook')"
  )
  t.ok((await reencryptSigningSecrets({ db, sealing: new Sealing(NEW, OLD) })) >= 2)
  t.match(await query(url, "select count(*)::int from notice_receivers where secret_jwe = 'x'"), [{ count: 1 }])
})

t.test('a service re-encrypts signing secrets when it starts, and they still sign', async t => {
  const { url, secrets } = await startSealed(t, 2)
  const server = await spawnServer(t, {
    DATABASE_URL: url,
    DATA_DIR: temporaryFolder(t),
    KEY_ENCRYPTION_KEY: NEW.toString('base64'),
    KEY_ENCRYPTION_KEY_PREVIOUS: OLD.toString('base64')
  })
  await untilReady(server)
  await until('they are re-encrypted', async () => server.output().includes('"reencrypted":3'))
  t.same(await opened(url, new Sealing(NEW)), secrets)
})

t.test('without a previous key no receiver is read', async t => {
  const { db } = await startSealed(t, 1)
  await db.destroy()
  t.equal(await reencryptSigningSecrets({ db, sealing: new Sealing(NEW) }), 0)
})

t.test('after KEY_ENCRYPTION_KEY was lost, a rotated signing secret signs again at once', async t => {
  const id = randomUUID()
  const [lost, rotated] = [createSigningSecret(), createSigningSecret()]
  const before = {
    id,
    secret_jwe: await encryptSigningSecret(new Sealing(OLD), id, lost),
    previous_secret_jwe: null,
    previous_secret_expires_at: null
  }
  const found = new Sealing(NEW)
  await t.rejects(decryptSigningSecrets(found, before, Date.now()), SigningSecretLost)
  const after = {
    id,
    secret_jwe: await encryptSigningSecret(found, id, rotated),
    previous_secret_jwe: before.secret_jwe,
    previous_secret_expires_at: new Date(Date.now() + HOUR_MS)
  }
  t.same(await decryptSigningSecrets(found, after, Date.now()), [rotated])
})
