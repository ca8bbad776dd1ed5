import { createPublicKey, randomBytes, sign, verify } from 'node:crypto'
import { createLocalJWKSet, jwtVerify } from 'jose'
import type { KyselyPlugin, PluginTransformQueryArgs, PluginTransformResultArgs, QueryResult, UnknownRow } from 'kysely'
import t, { type Test } from 'tap'
import { Sealing } from '../../src/crypto/key-encryption.ts'
import { DatabaseUnavailable } from '../../src/database/errors.ts'
import { createKeySet, type KeySetOptions, loadKeySet } from '../../src/signing-keys/key-set.ts'
import { addSigningKey } from '../../src/signing-keys/repository.ts'
import { TIMING } from '../../src/signing-keys/rotation.ts'
import { replaceCompromised, rotateNow } from '../../src/signing-keys/rotation-by-hand.ts'
import { generateSigningKey } from '../../src/signing-keys/signing-key.ts'
import { Clock, startApp } from '../fixtures/app/app.ts'
import { asServingRole, createDatabase, openTestDatabase, query, withClient } from '../fixtures/app/database.ts'
import { DAY_MS } from '../fixtures/app/registration.ts'
import { proxyPostgres } from '../fixtures/faults/tcp-proxy.ts'
import { caught } from '../fixtures/run/caught.ts'
import { until } from '../fixtures/run/until.ts'

const sealing = new Sealing(randomBytes(32))

/** What an instance needs that serves with no more than the serving role. */
function store(t: Test, url: string, more: Partial<KeySetOptions> = {}): KeySetOptions {
  const db = openTestDatabase(t, asServingRole(url))
  return { db, sealing, algorithm: 'ES256', rotationDays: 90, now: Date.now, ...more }
}

const kids = async (keySet: { published: () => Promise<readonly { kid?: string }[]> }) =>
  (await keySet.published()).map(({ kid }) => kid).sort()

/** Counts the answers of the database, and holds them back. */
class CountedReadings implements KyselyPlugin {
  ended = 0
  #held: Promise<void> = Promise.resolve()

  /** @returns what lets the answers go on */
  hold(): () => void {
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#held = promise
    return resolve
  }

  transformQuery({ node }: PluginTransformQueryArgs): PluginTransformQueryArgs['node'] {
    return node
  }

  async transformResult({ result }: PluginTransformResultArgs): Promise<QueryResult<UnknownRow>> {
    this.ended++
    await this.#held
    return result
  }
}

/** A clock that the database's own is never behind. */
function pastClock(): Clock {
  const clock = new Clock()
  clock.time = Date.now() - 400 * DAY_MS
  return clock
}

t.test('of any number of instances that start at once, one makes the first key and all sign with it', async t => {
  const url = await createDatabase(t)
  const sets = await Promise.all(Array.from({ length: 6 }, () => loadKeySet(store(t, url))))
  t.equal(new Set(sets.map(({ active }) => active.kid)).size, 1)
  t.same(await query(url, 'select count(*)::int from signing_keys'), [{ count: 1 }])
  const [first, second] = sets
  if (first === undefined || second === undefined) throw new Error('no key set')
  const input = Buffer.from('signed by one, verified with what the other publishes')
  const signature = sign('sha256', input, first.active.privateKey)
  const publicKey = createPublicKey({ key: { ...(await second.published())[0] }, format: 'jwk' })
  t.ok(verify('sha256', input, publicKey, signature))
})

t.test('of 6 instances of two algorithms that start at once on nothing, all sign with the one first key', async t => {
  for (let round = 0; round < 3; round++) {
    const url = await createDatabase(t)
    const algorithms = ['ES256', 'EdDSA', 'ES256', 'EdDSA', 'ES256', 'EdDSA'] as const
    const sets = await Promise.all(algorithms.map(algorithm => loadKeySet(store(t, url, { algorithm }))))
    t.equal(new Set(sets.map(({ active }) => active.kid)).size, 1)
    await Promise.all(sets.map(keySet => keySet.refresh()))
    t.same(await query(url, 'select count(*)::int, count(distinct algorithm)::int as algorithms from signing_keys'), [
      { count: 2, algorithms: 2 }
    ])
  }
})

t.test('6 instances at once make one next key, and each publishes it before any signs with it', async t => {
  const url = await createDatabase(t)
  const clock = pastClock()
  const sets = await Promise.all(Array.from({ length: 6 }, () => loadKeySet(store(t, url, { now: clock.now }))))
  const [{ active: first } = { active: { kid: '' } }] = sets
  clock.advance(90 * DAY_MS - TIMING.leadMs)
  await Promise.all(sets.map(keySet => keySet.refresh()))
  t.same(await query(url, 'select generation from signing_keys order by 1'), [{ generation: 1 }, { generation: 2 }])
  for (const keySet of sets) {
    await keySet.refresh()
    t.equal((await kids(keySet)).length, 2)
    t.equal(keySet.active.kid, first.kid)
  }
  clock.advance(TIMING.leadMs)
  await Promise.all(sets.map(keySet => keySet.refresh()))
  const actives = new Set(sets.map(({ active }) => active.kid))
  t.equal(actives.size, 1)
  t.notOk(actives.has(first.kid))
})

t.test(
  'an instance that is lost while it makes the next key leaves all of it or nothing, and another goes on',
  async t => {
    const url = await createDatabase(t)
    const clock = pastClock()
    const { proxy, url: proxied } = await proxyPostgres(t, asServingRole(url))
    const lost = await loadKeySet(store(t, url, { now: clock.now, db: openTestDatabase(t, proxied) }))
    const other = await loadKeySet(store(t, url, { now: clock.now }))
    clock.advance(90 * DAY_MS - TIMING.leadMs)
    await withClient(url, async client => {
      await client.query('begin')
      await client.query('lock table signing_keys in share mode')
      const refreshing = lost.refresh()
      await until('its insert waits', async () => {
        const waiting = `select from pg_stat_activity where wait_event_type = 'Lock' and query like 'select add_signing_key%'`
        return (await query(url, waiting)).length === 1
      })
      proxy.cut()
      await t.rejects(refreshing, DatabaseUnavailable)
      await client.query('commit')
    })
    await Promise.all([other.refresh(), other.refresh()])
    t.same(await query(url, 'select generation from signing_keys order by 1'), [{ generation: 1 }, { generation: 2 }])
    clock.advance(TIMING.leadMs)
    await Promise.all([lost.refresh(), other.refresh()])
    t.equal(lost.active.kid, other.active.kid)
  }
)

t.test('a key verifies tokens for exactly as long as it is published', async t => {
  const url = await createDatabase(t)
  const clock = pastClock()
  const keySet = await loadKeySet(store(t, url, { now: clock.now }))
  const { kid } = keySet.active
  const input = Buffer.from('signed')
  const signature = sign('sha256', input, keySet.active.privateKey)
  const verifies = () => {
    const key = keySet.verificationKey(kid)
    return key !== undefined && key.algorithm === 'ES256' && verify('sha256', input, key.publicKey, signature)
  }
  t.ok(verifies())
  t.equal(keySet.verificationKey('unknown'), undefined)
  clock.advance(90 * DAY_MS - TIMING.leadMs)
  await keySet.refresh()
  clock.advance(TIMING.leadMs + TIMING.handoverMs - 1)
  await keySet.refresh()
  t.not(keySet.active.kid, kid)
  t.ok(verifies() && (await kids(keySet)).includes(kid))
  clock.advance(1)
  t.notOk(verifies() || (await kids(keySet)).includes(kid))
})

t.test('a published key that this instance cannot decrypt is not taken for an unknown one', async t => {
  const url = await createDatabase(t)
  const { active } = await loadKeySet(store(t, url))
  const other = createKeySet(store(t, url, { sealing: new Sealing(randomBytes(32)) }))
  await t.rejects(other.refresh(), /KEY_ENCRYPTION_KEY/)
  t.throws(() => other.verificationKey(active.kid), DatabaseUnavailable)
})

// [INTROSPECT-12]
t.test('a flood of unknown kids shares its readings, and each call sees a key that was made before it', async t => {
  const url = await createDatabase(t)
  const options = store(t, url)
  const readings = new CountedReadings()
  const keySet = await loadKeySet({ ...options, db: options.db.withPlugin(readings) })
  const before = readings.ended
  await keySet.learn(keySet.active.kid)
  t.equal(readings.ended, before, 'a known key is not read')
  const release = readings.hold()
  const first = keySet.learn('unknown')
  await until('the first reading has its answer', () => readings.ended === before + 1)
  const { kid } = await replaceCompromised(store(t, url, { db: openTestDatabase(t, url) }))
  const flood = Array.from({ length: 1_000 }, (_, index) => keySet.learn(`unknown ${index}`))
  const learned = keySet.learn(kid)
  release()
  await Promise.all([first, learned, ...flood])
  t.equal(keySet.verificationKey(kid)?.algorithm, 'ES256', 'a reading that began before the call does not count for it')
  t.equal(keySet.active.kid, kid)
  t.equal(readings.ended, before + 2)
})

t.test('the private part of a retired key is gone from the table, and that of a living one never is', async t => {
  const url = await createDatabase(t)
  const clock = pastClock()
  const keySet = await loadKeySet(store(t, url, { now: clock.now }))
  const { kid } = keySet.active
  const isThere = async () => (await query(url, 'select from signing_keys where kid = $1', [kid])).length === 1
  clock.advance(90 * DAY_MS - TIMING.leadMs)
  await keySet.refresh()
  clock.advance(TIMING.leadMs + TIMING.handoverMs - 1)
  await keySet.refresh()
  t.not(keySet.active.kid, kid)
  t.ok((await kids(keySet)).includes(kid), 'published while a token of it may be alive')
  clock.advance(1)
  t.notOk((await kids(keySet)).includes(kid), 'and no longer')
  t.ok(await isThere())
  clock.advance(3_600_000)
  await keySet.refresh()
  t.notOk(await isThere())
})

t.test('the serving role destroys retired keys and no others, whatever time it claims', async t => {
  const url = await createDatabase(t)
  const clock = new Clock()
  clock.time = Date.now()
  const keySet = await loadKeySet(store(t, url, { now: clock.now }))
  await rotateNow(store(t, url, { now: () => clock.time - TIMING.leadMs + 1_000 }))
  const destroy = `select * from destroy_retired_signing_keys('2999-01-01')`
  t.same(await query(asServingRole(url), destroy), [], 'the newer one has signed for no time yet, by the database')
  await query(url, `update signing_keys set signs_from = signs_from - interval '3 hours 1 minute'`)
  t.same(await query(asServingRole(url), destroy), [{ destroy_retired_signing_keys: keySet.active.kid }])
  t.same(await query(asServingRole(url), destroy), [], 'the newest never')
})

t.test('200 days, a token each day: a verifier that caches as it is told has the key of each', async t => {
  const url = await createDatabase(t)
  const clock = pastClock()
  const keySet = await loadKeySet(store(t, url, { now: clock.now }))
  const grantd = await startApp(t, { databaseUrl: url, now: clock.now, keySet })
  const registration = await grantd.register({ expiresAt: new Date(clock.time + 365 * DAY_MS).toISOString() })
  let cached: { keys: ReturnType<typeof createLocalJWKSet>; until: number } | undefined
  const verifiedAt = async (token: string) => {
    if (cached === undefined || clock.time >= cached.until) {
      const answer = await grantd.send('GET', '/.well-known/jwks.json')
      const [, seconds] = /max-age=(\d+)/.exec(String(answer.headers['cache-control'])) ?? []
      cached = { keys: createLocalJWKSet(answer.json()), until: clock.time + Number(seconds) * 1_000 }
    }
    return (await jwtVerify(token, cached.keys, { currentDate: new Date(clock.time) })).protectedHeader.kid
  }
  const signedWith = new Set<string | undefined>()
  for (const end = clock.time + 200 * DAY_MS; clock.time < end; ) {
    const { access_token: token } = (await grantd.exchange(registration)).json()
    signedWith.add(await verifiedAt(token))
    clock.advance(899_000)
    await keySet.refresh()
    await verifiedAt(token)
    // By the quarter of an hour around a change, by the day between.
    const isQuiet = (await kids(keySet)).length === 1
    clock.advance(isQuiet ? DAY_MS - 899_000 : 0)
    await keySet.refresh()
  }
  t.equal(signedWith.size, 3, 'two rotations')
  t.same(await query(url, 'select count(*)::int from signing_keys'), [{ count: 1 }])
})

t.test('a new SIGNING_ALGORITHM takes over once its key is known; the other stays while instances use it', async t => {
  const url = await createDatabase(t)
  const clock = pastClock()
  const before = await loadKeySet(store(t, url, { now: clock.now }))
  const after = await loadKeySet(store(t, url, { now: clock.now, algorithm: 'RS256' }))
  await before.refresh()
  t.equal(after.active.kid, before.active.kid)
  for (const keySet of [before, after]) t.equal((await kids(keySet)).length, 2, 'both publish both')
  clock.advance(TIMING.leadMs)
  await Promise.all([before.refresh(), after.refresh()])
  t.same([before.active.algorithm, after.active.algorithm], ['ES256', 'RS256'])
  clock.advance(TIMING.handoverMs)
  await before.refresh()
  t.equal((await kids(before)).length, 2, 'an instance of the release before may still run')
  // From here on it doesn't.
  for (let day = 0; day < 95; day++) {
    clock.advance(DAY_MS)
    await after.refresh()
  }
  t.same(await query(url, 'select distinct algorithm from signing_keys'), [{ algorithm: 'RS256' }])
})

t.test('KEY_ROTATION_DAYS=0: the key never changes by itself', async t => {
  const url = await createDatabase(t)
  const clock = pastClock()
  const keySet = await loadKeySet(store(t, url, { now: clock.now, rotationDays: 0 }))
  const { kid } = keySet.active
  for (let day = 0; day < 390; day += 10) {
    clock.advance(10 * DAY_MS)
    await keySet.refresh()
    t.equal(keySet.active.kid, kid)
    t.same(await kids(keySet), [kid])
  }
})

t.test(
  'a key whose decision is too old by the database clock is not added: it would be published too late',
  async t => {
    const url = await createDatabase(t)
    const { db } = store(t, url)
    const place = { generation: 1, signsFrom: 0, signsUntil: 1 }
    const row = await generateSigningKey(sealing, 'ES256', place, 0)
    const [{ at }] = (await query(url, 'select clock_timestamp() as at')).map(Object)
    t.equal(await addSigningKey(db, row, undefined, new Date(at.getTime() - 60_000)), false)
    t.same(await query(url, 'select from signing_keys'), [])
    t.equal(await addSigningKey(db, row, undefined, new Date(at.getTime() - 30_000)), true)
    t.equal(await addSigningKey(db, { ...row, kid: 'a'.repeat(43) }, undefined, at), false)
  }
)

t.test(
  'the database away during a change: the last key signs on, its answers are cached less, and not for ever',
  async t => {
    const url = await createDatabase(t)
    const clock = pastClock()
    const { proxy, url: proxied } = await proxyPostgres(t, url)
    const cutOff = await loadKeySet(store(t, proxied, { now: clock.now }))
    const other = await loadKeySet(store(t, url, { now: clock.now }))
    const { kid } = cutOff.active
    clock.advance(90 * DAY_MS - TIMING.leadMs - 60_000)
    await cutOff.refresh()
    await proxy.refuse()
    t.equal(cutOff.cacheSeconds(), 300)
    clock.advance(60_000)
    await other.refresh()
    clock.advance(TIMING.leadMs - 60_000 - TIMING.slackMs)
    await t.rejects(cutOff.refresh(), DatabaseUnavailable)
    t.equal(cutOff.cacheSeconds(), 0)
    clock.advance(60_000 + TIMING.slackMs)
    await other.refresh()
    await t.rejects(cutOff.refresh(), DatabaseUnavailable)
    t.not(other.active.kid, kid)
    t.equal(cutOff.active.kid, kid)
    clock.advance(3_600_000 - 60_000)
    await t.rejects(cutOff.refresh(), DatabaseUnavailable)
    t.equal(cutOff.active.kid, kid, 'as long as it may')
    t.ok((await kids(other)).includes(kid), 'and a verifier of its last token has the key')
    clock.advance(3_600_000)
    t.ok((await kids(other)).includes(kid), 'to the end of that')
    await t.rejects(cutOff.refresh(), DatabaseUnavailable)
    t.throws(() => cutOff.active, DatabaseUnavailable)
    await proxy.accept()
    await cutOff.refresh()
    t.equal(cutOff.active.kid, other.active.kid)
  }
)

t.test('without a key to rely on a token request is answered 503 with Retry-After', async t => {
  const url = await createDatabase(t)
  const clock = pastClock()
  const { proxy, url: proxied } = await proxyPostgres(t, url)
  const keySet = await loadKeySet(store(t, proxied, { now: clock.now }))
  const grantd = await startApp(t, { databaseUrl: url, now: clock.now, keySet })
  const registration = await grantd.register({ expiresAt: new Date(clock.time + 365 * DAY_MS).toISOString() })
  t.equal((await grantd.exchange(registration)).status, 200)
  await proxy.refuse()
  clock.advance(TIMING.trustMs + 1)
  await t.rejects(keySet.refresh(), DatabaseUnavailable)
  const answer = await grantd.exchange(registration)
  t.equal(answer.status, 503)
  t.match(answer.headers['retry-after'], /^\d+$/)
  t.equal(answer.json().error, 'temporarily_unavailable')
})

t.test('a database that only reads is good enough to start on, and to sign beyond the time of the key', async t => {
  const url = await createDatabase(t)
  const clock = pastClock()
  const { active } = await loadKeySet(store(t, url, { now: clock.now }))
  clock.advance(120 * DAY_MS)
  const readOnly = new URL(asServingRole(url))
  readOnly.searchParams.set('options', '-c role=grantd_serving -c default_transaction_read_only=on')
  const keySet = await loadKeySet(store(t, url, { now: clock.now, db: openTestDatabase(t, readOnly.href) }))
  t.equal(keySet.active.kid, active.kid)
  t.same(await kids(keySet), [active.kid])
  await t.rejects(keySet.refresh(), DatabaseUnavailable)
})

t.test('by hand: the next key comes now, when everybody has it', async t => {
  const url = await createDatabase(t)
  const clock = pastClock()
  const here = store(t, url, { now: clock.now })
  const keySet = await loadKeySet(here)
  const { kid: first } = keySet.active
  const { kid, signsFrom, destroyed } = await rotateNow(here)
  t.same([signsFrom, destroyed], [clock.time + TIMING.leadMs, []])
  await keySet.refresh()
  t.same(await kids(keySet), [first, kid].sort())
  t.equal(keySet.active.kid, first)
  clock.advance(TIMING.leadMs)
  await keySet.refresh()
  t.equal(keySet.active.kid, kid)
  clock.advance(TIMING.handoverMs)
  t.same(await kids(keySet), [kid])
})

t.test('by hand after a compromise: the keys that exist are gone at once, and another signs', async t => {
  const url = await createDatabase(t)
  const here = store(t, url)
  const keySet = await loadKeySet(here)
  const { kid: first } = keySet.active
  await t.rejects(replaceCompromised(here), { code: '42501' }, 'the serving role may not')
  const { kid, destroyed } = await replaceCompromised({ ...here, db: openTestDatabase(t, url) })
  t.same(destroyed, [first])
  await keySet.refresh()
  t.equal(keySet.active.kid, kid)
  t.same(await kids(keySet), [kid])
  t.same(await query(url, 'select kid from signing_keys'), [{ kid }])
})

t.test('a key in the table that no KEY_ENCRYPTION_KEY has sealed is neither published nor signed with', async t => {
  const url = await createDatabase(t)
  const keySet = await loadKeySet(store(t, url))
  const { kid } = keySet.active
  const forged = await generateSigningKey(
    new Sealing(randomBytes(32)),
    'ES256',
    { generation: 2, signsFrom: Date.now() - 1_000, signsUntil: Date.now() + DAY_MS },
    Date.now()
  )
  await query(
    url,
    `insert into signing_keys (kid, algorithm, public_jwk, private_jwe, proof_hash, created_at, generation, signs_from, signs_until)
       values ($1, $2, $3, $4, $5, now(), 2, now(), now() + '91 days')`,
    [forged.kid, forged.algorithm, forged.public_jwk, forged.private_jwe, forged.proof_hash]
  )
  await t.rejects(keySet.refresh(), /KEY_ENCRYPTION_KEY does not decrypt the signing key/)
  t.same(await kids(keySet), [kid])
  t.equal(keySet.active.kid, kid)
  t.equal(keySet.cacheSeconds(), 0, 'were it sealed by an instance with another one, verifiers would ask that again')
})

// M7, N3
t.test(
  'a stolen login of the serving role can neither add, overwrite nor destroy a key, and tokens keep coming',
  async t => {
    const url = await createDatabase(t)
    const serving = asServingRole(url)
    const keySet = await loadKeySet(store(t, url))
    await query(url, `update signing_keys set signs_from = signs_from - interval '5 hours'`)
    await keySet.refresh()
    const grantd = await startApp(t, { databaseUrl: serving, keySet })
    const registered = await grantd.register()
    const before = await query(url, 'select * from signing_keys')
    const forged = await generateSigningKey(
      new Sealing(randomBytes(32)),
      'ES256',
      { generation: 2, signsFrom: Date.now() - 4 * 3_600_000, signsUntil: Date.now() + 90 * DAY_MS },
      Date.now()
    )
    const { kid } = keySet.active
    for (const [statement, ...values] of [
      [
        `insert into signing_keys (kid, algorithm, public_jwk, private_jwe, proof_hash, created_at, generation, signs_from, signs_until)
         values ('~', 'ES256', '{}', 'x', sha256(''), now(), 2147483647, now() - interval '4 hours', now() + interval '90 days')`
      ],
      [`update signing_keys set private_jwe = 'x'`],
      [`delete from signing_keys`],
      ['truncate signing_keys'],
      ...[randomBytes(32), Buffer.alloc(0), null].map(
        proof =>
          [
            `select add_signing_key($1, 'ES256', '{}', $2, $3, now(), 2, now() - interval '4 hours', now() + interval '90 days', $4, now())`,
            ...[forged.kid, forged.private_jwe, forged.proof_hash, proof]
          ] as const
      )
    ] as const) {
      await t.rejects(query(serving, statement, [...values]), { code: '42501' }, statement)
    }
    t.same(await query(serving, 'select destroy_retired_signing_keys(now()) as kid'), [])
    for (const proof of [randomBytes(32), before.map(row => Object(row).proof_hash)[0], null]) {
      const overwrite = 'select reencrypt_signing_key($1, $2, $3, $4) as is_done'
      t.same(await query(serving, overwrite, [kid, forged.private_jwe, forged.proof_hash, proof]), [{ is_done: false }])
    }
    t.same(await query(url, 'select * from signing_keys'), before)
    for (let round = 0; round < 3; round++) {
      await keySet.refresh()
      t.equal((await grantd.exchange(registered)).status, 200)
    }
    t.equal((await loadKeySet(store(t, url))).active.kid, kid, 'and an instance that starts signs with the same key')
  }
)

t.test('at rest a private key is sealed, and opens only with its own key and under its own kid', async t => {
  const url = await createDatabase(t)
  const { active } = await loadKeySet(store(t, url))
  const { d } = active.privateKey.export({ format: 'jwk' })
  const [row] = await query(url, 'select kid, private_jwe from signing_keys')
  const { kid, private_jwe: jwe } = Object(row)
  t.match(jwe, /^[\w-]+\.\.[\w-]+\.[\w-]+\.[\w-]+$/)
  t.notOk(JSON.stringify(await query(url, 'select * from signing_keys')).includes(String(d)))
  t.match(JSON.parse((await sealing.open('signing keys', kid, jwe))?.text ?? ''), { d })
  t.equal(await sealing.open('signing keys', 'another kid', jwe), undefined)
  t.equal(await new Sealing(randomBytes(32)).open('signing keys', kid, jwe), undefined)
})

t.test('the JWKS has public members only, and may be cached', async t => {
  const grantd = await startApp(t, { environment: { SIGNING_ALGORITHM: 'RS256' } })
  const answer = await grantd.send('GET', '/.well-known/jwks.json')
  t.equal(answer.headers['cache-control'], 'public, max-age=300')
  for (const key of answer.json().keys) t.same(Object.keys(key).sort(), ['alg', 'e', 'kid', 'kty', 'n', 'use'])
})

t.test('with nothing read there is no key to sign with', async t => {
  const keySet = createKeySet(store(t, await createDatabase(t)))
  t.type(
    caught(() => keySet.active),
    DatabaseUnavailable
  )
  t.same(await keySet.published(), [])
})
