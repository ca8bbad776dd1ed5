import { createPublicKey, randomBytes, sign, verify } from 'node:crypto'
import t from 'tap'
import { loadKeySet } from '../../src/signing-keys/key-set.ts'
import { openKey } from '../../src/signing-keys/sealed-key.ts'
import { startApp } from '../fixtures/app.ts'
import { createDatabase, openTestDatabase, query } from '../fixtures/database.ts'

const sealingKey = randomBytes(32)

t.test('of any number of instances that start at once, one makes the first key and all sign with it', async t => {
  const url = await createDatabase(t)
  const databases = Array.from({ length: 6 }, () => openTestDatabase(t, url))
  const sets = await Promise.all(databases.map(db => loadKeySet({ db, sealingKey, algorithm: 'ES256', now: Date.now })))
  t.equal(new Set(sets.map(({ active }) => active.kid)).size, 1)
  t.same(await query(url, 'select count(*)::int from signing_keys'), [{ count: 1 }])
  const [first, second] = sets
  if (first === undefined || second === undefined) throw new Error('no key set')
  const input = Buffer.from('signed by one, verified with what the other publishes')
  const signature = sign('sha256', input, first.active.privateKey)
  const publicKey = createPublicKey({ key: { ...(await second.published())[0] }, format: 'jwk' })
  t.ok(verify('sha256', input, publicKey, signature))
})

t.test('each algorithm has its key, and all are published', async t => {
  const db = openTestDatabase(t, await createDatabase(t))
  for (const algorithm of ['ES256', 'RS256', 'EdDSA', 'ES256'] as const) {
    const { active } = await loadKeySet({ db, sealingKey, algorithm, now: Date.now })
    t.equal(active.algorithm, algorithm)
  }
  const { published } = await loadKeySet({ db, sealingKey, algorithm: 'ES256', now: Date.now })
  t.same((await published()).map(({ alg }) => alg).sort(), ['ES256', 'EdDSA', 'RS256'])
})

t.test('at rest a private key is sealed, and opens only with its own key and under its own kid', async t => {
  const url = await createDatabase(t)
  const db = openTestDatabase(t, url)
  const { active } = await loadKeySet({ db, sealingKey, algorithm: 'ES256', now: Date.now })
  const { d } = active.privateKey.export({ format: 'jwk' })
  const [row] = await query(url, 'select kid, private_jwe from signing_keys')
  const { kid, private_jwe: jwe } = Object(row)
  t.match(jwe, /^[\w-]+\.\.[\w-]+\.[\w-]+\.[\w-]+$/)
  t.notOk(JSON.stringify(await query(url, 'select * from signing_keys')).includes(String(d)))
  t.match(await openKey(sealingKey, kid, jwe), { d })
  await t.rejects(openKey(sealingKey, 'another kid', jwe), /KEY_ENCRYPTION_KEY/)
  await t.rejects(openKey(randomBytes(32), kid, jwe), /KEY_ENCRYPTION_KEY/)
  const other = loadKeySet({ db, sealingKey: randomBytes(32), algorithm: 'ES256', now: Date.now })
  await t.rejects(other, /KEY_ENCRYPTION_KEY does not open the signing key/)
})

t.test('the JWKS has public members only, and may be cached', async t => {
  const grantd = await startApp(t, { environment: { SIGNING_ALGORITHM: 'RS256' } })
  const answer = await grantd.send('GET', '/.well-known/jwks.json')
  t.match(answer.headers['cache-control'], /^public, max-age=\d+$/)
  for (const key of answer.json().keys) t.same(Object.keys(key).sort(), ['alg', 'e', 'kid', 'kty', 'n', 'use'])
})
