import fc from 'fast-check'
import t from 'tap'
import { loadConfig } from '../../src/config/config.ts'
import {
  cacheMs,
  isNextKeyDue,
  isRetired,
  type KeyTimes,
  nextKeyTimes,
  publishedKeys,
  signingKey,
  TIMING
} from '../../src/signing-keys/rotation.ts'
import { createDatabase, query, withClient } from '../fixtures/app/database.ts'
import { DAY_MS } from '../fixtures/app/registration.ts'

const HOUR = 3_600_000
/** Behind the database's own clock. */
const NOW = Date.parse('2025-11-23T09:00:00.000Z')

function key(kid: string, signsFrom: number, more: Partial<KeyTimes> = {}): KeyTimes {
  return { kid, algorithm: 'ES256', signsFrom, signsUntil: signsFrom + 91 * DAY_MS, isUsable: true, ...more }
}

const signer = (keys: KeyTimes[], algorithm: string, now: number, readAt = now) =>
  signingKey({ keys, readAt }, algorithm, now)?.kid

t.test('the times: 17 minutes ahead, 2 hours and 2 minutes after, 77 minutes without the database', async t => {
  t.match(TIMING, { leadMs: 17 * 60_000, handoverMs: 122 * 60_000, trustMs: 77 * 60_000, cacheMs: 300_000 })
  for (const name of ['STALE_CREDENTIALS_SECONDS', 'ACCESS_TOKEN_TTL_SECONDS']) {
    t.ok(loadConfig({ [name]: '3600' }))
    t.throws(() => loadConfig({ [name]: '3601' }), new RegExp(name), 'more than these times allow for')
  }
})

t.test('the newest key of the algorithm signs, from its time on', async t => {
  const keys = [key('a', NOW - 90 * DAY_MS), key('b', NOW), key('r', NOW - 1, { algorithm: 'RS256' })]
  t.equal(signer(keys, 'ES256', NOW - 2), 'a')
  t.equal(signer(keys, 'ES256', NOW), 'b')
  t.equal(signer(keys, 'RS256', NOW - 2), 'a', 'another signs for an algorithm whose first is not yet known to all')
  t.equal(signer(keys, 'RS256', NOW), 'r')
  t.equal(signer(keys, 'EdDSA', NOW), 'b')
})

t.test('a key whose time is over signs on while there is no newer one, and no longer', async t => {
  const old = key('a', NOW - 200 * DAY_MS)
  t.equal(signer([old], 'ES256', NOW), 'a')
  t.equal(signer([old, key('r', NOW - 1, { algorithm: 'RS256' })], 'ES256', NOW), 'r')
  t.equal(signer([old, key('b', NOW + 1)], 'ES256', NOW), 'a')
})

t.test('a clock behind that of the instance which made the first key signs with it all the same', async t => {
  t.equal(signer([key('a', NOW + 5_000)], 'ES256', NOW), 'a')
  t.equal(signer([key('a', NOW - 1, { isUsable: false }), key('b', NOW + 1)], 'ES256', NOW), undefined)
})

t.test('nothing signs on what was read too long ago', async t => {
  const keys = [key('a', NOW - DAY_MS)]
  t.equal(signer(keys, 'ES256', NOW, NOW - TIMING.trustMs), 'a')
  t.equal(signer(keys, 'ES256', NOW, NOW - TIMING.trustMs - 1), undefined)
})

t.test('a key that cannot be opened here lets the last one sign only while that stays published elsewhere', async t => {
  const keys = [key('a', NOW - 10 * DAY_MS), key('b', NOW, { isUsable: false })]
  const last = NOW + TIMING.handoverMs - TIMING.tokenMs
  t.equal(signer(keys, 'ES256', last - 1), 'a')
  t.equal(signer(keys, 'ES256', last), undefined)
  t.equal(cacheMs({ keys, readAt: NOW - HOUR / 2 }, NOW - HOUR / 2), 300_000)
  t.equal(cacheMs({ keys, readAt: NOW - 200_000 }, NOW - 200_000), 200_000 - TIMING.slackMs)
  t.equal(cacheMs({ keys, readAt: NOW }, NOW), 0)
})

t.test(
  'an answer is cached for 300 s, and for less when the database has been away for more than 10 minutes',
  async t => {
    const known = { keys: [key('a', NOW - DAY_MS)], readAt: NOW }
    t.equal(cacheMs(known, NOW), 300_000)
    t.equal(cacheMs(known, NOW + 600_000), 300_000)
    t.equal(cacheMs(known, NOW + 700_000), 200_000)
    t.equal(cacheMs(known, NOW + HOUR), 0)
  }
)

t.test('a key of another algorithm stays until its own time is over', async t => {
  const old = key('e', NOW)
  const other = key('r', NOW + DAY_MS, { algorithm: 'RS256' })
  const published = (now: number) => publishedKeys({ keys: [old, other], readAt: now }, now).map(({ kid }) => kid)
  t.same(published(old.signsUntil + TIMING.handoverMs - 1), ['e', 'r'])
  t.same(published(old.signsUntil + TIMING.handoverMs), ['r'])
})

t.test('the next key is due in time to be known when it is needed, by the shorter of the two settings', async t => {
  const keys = [key('a', NOW)]
  for (const [rotation, days] of [
    [90 * DAY_MS, 90],
    [30 * DAY_MS, 30],
    [365 * DAY_MS, 90]
  ] as const) {
    const due = NOW + days * DAY_MS - TIMING.leadMs
    t.equal(isNextKeyDue(keys, 'ES256', rotation, due - 1), false)
    t.equal(isNextKeyDue(keys, 'ES256', rotation, due), true)
  }
  t.equal(isNextKeyDue(keys, 'RS256', 90 * DAY_MS, NOW), true)
  t.equal(isNextKeyDue([...keys, key('b', NOW + 90 * DAY_MS)], 'ES256', 90 * DAY_MS, NOW + 90 * DAY_MS), false)
})

t.test('without rotation the next key is due when another algorithm has taken over and been left again', async t => {
  const old = key('e', NOW)
  const year = NOW + 365 * DAY_MS
  t.equal(isNextKeyDue([old], 'ES256', 0, year), false)
  t.equal(isNextKeyDue([old, key('r', NOW + DAY_MS, { algorithm: 'RS256' })], 'ES256', 0, NOW + DAY_MS), false)
  t.equal(isNextKeyDue([old, key('r', NOW + DAY_MS, { algorithm: 'RS256' })], 'ES256', 0, year), true)
})

t.test('the first key signs at once, every other one when all have it', async t => {
  t.same(nextKeyTimes([], 90 * DAY_MS, NOW), { signsFrom: NOW, signsUntil: NOW + 91 * DAY_MS })
  t.equal(nextKeyTimes([key('a', NOW)], 90 * DAY_MS, NOW).signsFrom, NOW + TIMING.leadMs)
})

const anyKeys = fc
  .array(
    fc.record({
      algorithm: fc.constantFrom('ES256', 'RS256', 'EdDSA'),
      age: fc.integer({ min: -HOUR, max: 200 * DAY_MS }),
      life: fc.integer({ min: 1, max: 91 * DAY_MS }),
      isUsable: fc.boolean()
    }),
    { minLength: 1, maxLength: 5 }
  )
  .map(list =>
    list.map(({ algorithm, age, life, isUsable }, index) =>
      key(`k${index}`, NOW - age, { algorithm, signsUntil: NOW - age + life, isUsable })
    )
  )

t.test('what signs is published, for as long as its tokens live', async () => {
  fc.assert(
    fc.property(anyKeys, fc.constantFrom('ES256', 'RS256', 'EdDSA'), (keys, algorithm) => {
      const known = { keys, readAt: NOW }
      const signs = signingKey(known, algorithm, NOW)
      if (signs === undefined) return
      if (!publishedKeys(known, NOW).includes(signs)) throw new Error('it is not published')
      if (!publishedKeys(known, NOW + HOUR).includes(signs)) throw new Error('it is not published to the end')
    })
  )
})

t.test('where all keys can be opened one signs, and the newest is never retired', async () => {
  fc.assert(
    fc.property(anyKeys, some => {
      const keys = some.map(each => ({ ...each, isUsable: true }))
      if (signingKey({ keys, readAt: NOW }, 'ES256', NOW) === undefined) throw new Error('none signs')
      if (keys.every(each => isRetired(each, keys, NOW))) throw new Error('all are retired')
    })
  )
})

t.test('the database destroys what these rules have retired, an hour later, and nothing else', async t => {
  const url = await createDatabase(t)
  await withClient(url, client =>
    fc.assert(
      fc.asyncProperty(anyKeys, async keys => {
        await client.query('begin')
        for (const [index, { kid, algorithm, signsFrom, signsUntil }] of keys.entries()) {
          await client.query(
            `insert into signing_keys (kid, algorithm, public_jwk, private_jwe, proof_hash, created_at, signs_from, signs_until, generation)
              values (rpad($1, 43, '-'), $2, '{}', 'a..b.c.d', sha256(''), now(), $3, $4, $5)`,
            [kid, algorithm, new Date(signsFrom), new Date(signsUntil), index]
          )
        }
        const { rows } = await client.query('select destroy_retired_signing_keys($1) as kid', [new Date(NOW)])
        await client.query('rollback')
        const destroyed = rows.map(({ kid }) => kid.replace(/-+$/, '')).sort()
        const slack = HOUR - (TIMING.handoverMs - 2 * HOUR)
        for (const { kid } of keys.filter(each => isRetired(each, keys, NOW - HOUR))) {
          if (!destroyed.includes(kid)) throw new Error(`${kid} is left`)
        }
        for (const kid of destroyed) {
          const gone = keys.find(each => each.kid === kid)
          if (gone === undefined || !isRetired(gone, keys, NOW - slack)) throw new Error(`${kid} was needed`)
        }
      }),
      { numRuns: 200 }
    )
  )
  t.same(await query(url, 'select from signing_keys'), [])
})
