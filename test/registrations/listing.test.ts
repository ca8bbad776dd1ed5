import t, { type Test } from 'tap'
import { bucketOf } from '../../src/registrations/listing/exchange-count.ts'
import { Clock, startApp } from '../fixtures/app/app.ts'
import { query } from '../fixtures/app/database.ts'
import type { Grantd, Json } from '../fixtures/app/grantd.ts'
import { COLLECTION, DAY_MS, inDays } from '../fixtures/app/registration.ts'

async function names(grantd: Grantd, query: string, path = COLLECTION): Promise<string[]> {
  const answer = await grantd.asAdmin('GET', `${path}?${query}`)
  if (answer.status !== 200) throw new Error(answer.text)
  return answer.json().items.map(({ name }: Json) => name)
}

/** All pages from a cursor on, one after the other. */
async function walk(grantd: Grantd, query: string, path = COLLECTION, from = ''): Promise<string[]> {
  const found: string[] = []
  for (let cursor: string | null = from; cursor !== null; ) {
    const answer = await grantd.asAdmin('GET', `${path}?${query}${cursor && `&cursor=${cursor}`}`)
    if (answer.status !== 200) throw new Error(answer.text)
    found.push(...answer.json().items.map(({ name }: Json) => name))
    cursor = answer.json().nextCursor
  }
  return found
}

/** Five registrations of acme and one of umbrella, whose columns all sort another way. */
async function startWithRows(t: Test) {
  const clock = new Clock()
  const grantd = await startApp(t, { now: clock.now })
  const made: Record<string, Awaited<ReturnType<Grantd['register']>>> = {}
  for (const [name, days, enabled] of [
    ['delta', 5, true],
    ['Bravo', 100, false],
    ['écho_%', 20, true],
    ['alpha', 200, true],
    ['Charlie', 1, false]
  ] as const) {
    made[name] = await grantd.register({ name, expiresAt: inDays(days, clock.time), enabled })
    clock.advance(1_000)
  }
  await grantd.register({ name: 'foreign', expiresAt: inDays(3, clock.time) }, 'umbrella')
  for (const name of ['écho_%', 'alpha'] as const) {
    const registration = made[name]
    if (registration !== undefined) await grantd.exchange(registration)
    clock.advance(60_000)
  }
  return { grantd, clock, made }
}

t.test('the default order is name ascending, without regard to case and accents', async t => {
  const { grantd } = await startWithRows(t)
  t.same(await names(grantd, ''), ['alpha', 'Bravo', 'Charlie', 'delta', 'écho_%'])
})

t.test('every column of the grid sorts, both ways, in pages of any size', async t => {
  const { grantd, made } = await startWithRows(t)
  const byId = Object.entries(made)
    .sort(([, one], [, other]) => (one.clientId < other.clientId ? -1 : 1))
    .map(([name]) => name)
  for (const [column, expected] of [
    ['name', ['alpha', 'Bravo', 'Charlie', 'delta', 'écho_%']],
    ['clientId', byId],
    ['registeredAt', ['delta', 'Bravo', 'écho_%', 'alpha', 'Charlie']],
    ['expiresAt', ['Charlie', 'delta', 'écho_%', 'Bravo', 'alpha']],
    ['expiresInDays', ['Charlie', 'delta', 'écho_%', 'Bravo', 'alpha']],
    ['state', ['Charlie', 'delta', 'écho_%', 'Bravo', 'alpha']]
  ] as const) {
    for (const limit of [1, 2, 4, 5, 200]) {
      t.same(await walk(grantd, `sort=${column}&limit=${limit}`), expected, `${column} by ${limit}`)
      t.same(
        await walk(grantd, `sort=${column}&order=desc&limit=${limit}`),
        expected.toReversed(),
        `${column} descending by ${limit}`
      )
    }
  }
  for (const limit of [1, 2, 3, 4, 5]) {
    const used = await walk(grantd, `sort=lastUsedAt&limit=${limit}`)
    t.same(used.slice(3), ['écho_%', 'alpha'], 'never used comes first')
    t.same(await walk(grantd, `sort=lastUsedAt&order=desc&limit=${limit}`), used.toReversed())
    const enabled = await walk(grantd, `sort=enabled&limit=${limit}`)
    t.same(new Set(enabled.slice(0, 2)), new Set(['Bravo', 'Charlie']))
    t.same(await walk(grantd, `sort=enabled&order=desc&limit=${limit}`), enabled.toReversed())
  }
})

t.test('the number of exchanges sorts as a number, both ways, in pages of any size', async t => {
  const grantd = await startApp(t)
  const counts = [0, 0, 1, 1, 2, 9, 10, 11, 99, 99, 100, 101, 109, 110, 999, 1_000, 1_001, 99_999, 100_000, 2 ** 52]
  for (const count of counts.toSorted(() => Math.random() - 0.5)) {
    const { clientId } = await grantd.register({ name: String(count) })
    await query(
      grantd.databaseUrl,
      `update registration_last_used set exchange_count = $2::bigint, exchange_count_bucket = exchange_count_bucket($2::bigint)
         where client_id = $1`,
      [clientId, count]
    )
  }
  for (const limit of [1, 2, 3, 7, 20]) {
    for (const path of [COLLECTION, '/v1/app-registrations']) {
      t.same(await walk(grantd, `sort=exchangeCount&limit=${limit}`, path), counts.map(String))
      t.same(await walk(grantd, `sort=exchangeCount&order=desc&limit=${limit}`, path), counts.map(String).toReversed())
    }
  }
  const [first] = (await grantd.asAdmin('GET', `${COLLECTION}?sort=exchangeCount&order=desc&limit=1`)).json().items
  t.equal(first.exchangeCount, 2 ** 52)
})

t.test('the database and the listing agree on the bucket of a number of exchanges, which grows with it', async t => {
  const grantd = await startApp(t)
  const counts = [
    ...Array(1_200).keys(),
    ...Array.from({ length: 15 }, (_, digits) => [10 ** digits - 1, 10 ** digits]).flat()
  ]
  const rows = await query(
    grantd.databaseUrl,
    'select count::float8, exchange_count_bucket(count) as bucket from unnest($1::bigint[]) as counts (count) order by 1',
    [counts]
  )
  t.same(
    rows,
    counts.toSorted((one, other) => one - other).map(count => ({ count, bucket: bucketOf(count) }))
  )
  const buckets = rows.map(row => Number(Object(row).bucket))
  t.same(
    buckets,
    buckets.toSorted((one, other) => one - other)
  )
})

t.test('search finds parts of the name and of the client id, without wildcards', async t => {
  const { grantd, made } = await startWithRows(t)
  t.same(await names(grantd, 'search=ECHO'), ['écho_%'])
  t.same(await names(grantd, 'search=l'), await names(grantd, 'search=L'), 'case does not matter')
  t.same(await names(grantd, 'search=_%25'), ['écho_%'])
  t.same(await names(grantd, 'search=%25_'), [])
  t.same(await names(grantd, 'search=a_p'), [])
  t.same(await names(grantd, 'search=%5C'), [])
  t.same(await names(grantd, `search=${made['delta']?.clientId.slice(3, 15)}`), ['delta'])
  t.same(await names(grantd, 'search=foreign'), [], 'nothing of another Site')
})

t.test('filters by state, enabled and unusedSince combine', async t => {
  const { grantd, clock } = await startWithRows(t)
  t.same(await names(grantd, 'state=active'), ['alpha', 'Bravo'])
  t.same(await names(grantd, 'state=expiring_30d'), ['écho_%'])
  t.same(await names(grantd, 'state=expiring_7d'), ['Charlie', 'delta'])
  t.same(await names(grantd, 'state=expired'), [])
  t.same(await names(grantd, 'enabled=false'), ['Bravo', 'Charlie'])
  t.same(await names(grantd, 'enabled=true&state=active'), ['alpha'])
  const since = (ms: number) => `unusedSince=${encodeURIComponent(new Date(clock.time - ms).toISOString())}`
  t.same(await names(grantd, since(90_000)), ['Bravo', 'Charlie', 'delta', 'écho_%'], 'used before, or never')
  t.same(await names(grantd, since(120_000)), ['Bravo', 'Charlie', 'delta'], 'used at that instant is used')
  t.same(await names(grantd, since(-1_000)), ['alpha', 'Bravo', 'Charlie', 'delta', 'écho_%'])
  clock.advance(10 * DAY_MS)
  t.same(await names(grantd, 'state=expired'), ['Charlie', 'delta'])
})

t.test('creating or deleting rows between two pages neither repeats nor skips others', async t => {
  const { grantd, made } = await startWithRows(t)
  const first = await grantd.asAdmin('GET', `${COLLECTION}?limit=2`)
  await grantd.register({ name: 'aaa' })
  await grantd.asAdmin('DELETE', made['Bravo']?.path ?? '')
  const rest = await walk(grantd, 'limit=2', COLLECTION, first.json().nextCursor)
  t.same(rest, ['Charlie', 'delta', 'écho_%'])
})

t.test('registrations whose names differ only in case or accents are all listed', async t => {
  const grantd = await startApp(t)
  for (const name of ['same', 'Same', 'SAME', 'sàme', 'same']) await grantd.register({ name })
  t.equal((await walk(grantd, 'limit=1')).length, 5)
})

// [INPUT-9]
t.test('a cursor of another Site, order or filter, or made by hand, is 400', async t => {
  const { grantd } = await startWithRows(t)
  await grantd.register({ name: 'foreign 2' }, 'umbrella')
  const cursorOf = async (path: string) => (await grantd.asAdmin('GET', path)).json().nextCursor
  const own = await cursorOf(`${COLLECTION}?limit=2`)
  const foreign = await cursorOf('/v1/sites/umbrella/app-registrations?limit=1')
  const all = await cursorOf('/v1/app-registrations?limit=1')
  for (const query of [
    `cursor=${foreign}`,
    `cursor=${all}`,
    `cursor=${own}&order=desc`,
    `cursor=${own}&sort=expiresAt`,
    `cursor=${own}&enabled=true`,
    `cursor=${own}&search=a`,
    `cursor=${own}A`,
    'cursor=',
    `cursor=${Buffer.from('["alpha","k3v9x2m7q1w8z5t4r6y0"]').toString('base64url')}`
  ]) {
    const answer = await grantd.asAdmin('GET', `${COLLECTION}?${query}`)
    t.equal(answer.status, 400, query)
    t.match(answer.json(), { errors: [{ parameter: 'cursor', code: 'invalid_cursor' }] })
  }
  t.equal((await grantd.asAdmin('GET', `${COLLECTION}?limit=3&cursor=${own}`)).status, 200, 'the size may change')
})

// [INPUT-17]
t.test('a bad query is refused with the parameter named', async t => {
  const grantd = await startApp(t)
  for (const [query, parameter] of [
    ['limit=0', 'limit'],
    ['limit=201', 'limit'],
    ['limit=1e1', 'limit'],
    ['limit=%201', 'limit'],
    ['limit=', 'limit'],
    ['limit=1&limit=2', 'limit'],
    ['enabled=1', 'enabled'],
    ['enabled=TRUE', 'enabled'],
    ['state=disabled', 'state'],
    ['sort=secret_hash', 'sort'],
    ['sort=name;drop', 'sort'],
    ['sort=-name', 'sort'],
    ['order=descending', 'order'],
    ['unusedSince=yesterday', 'unusedSince'],
    ['unusedSince=2026-02-30T00:00:00Z', 'unusedSince'],
    ['search=%00', 'search'],
    ['offset=5', 'offset'],
    ['__proto__=x', '__proto__']
  ] as const) {
    const answer = await grantd.asAdmin('GET', `${COLLECTION}?${query}`)
    t.equal(answer.status, 400, query)
    t.match(answer.json(), { code: 'invalid_request', errors: [{ parameter }] }, query)
  }
})

t.test('a Global Administrator lists over all Sites, each row with its siteId', async t => {
  const { grantd } = await startWithRows(t)
  const answer = await grantd.asAdmin('GET', '/v1/app-registrations')
  t.same(
    answer.json().items.map(({ siteId, name }: Json) => `${siteId}/${name}`),
    ['acme/alpha', 'acme/Bravo', 'acme/Charlie', 'acme/delta', 'acme/écho_%', 'umbrella/foreign']
  )
  t.same(await names(grantd, 'siteId=umbrella', '/v1/app-registrations'), ['foreign'])
  t.same(await names(grantd, 'siteId=nobody', '/v1/app-registrations'), [])
  for (const sort of [
    'name',
    'name&order=desc',
    'clientId',
    'registeredAt',
    'expiresAt',
    'state',
    'enabled',
    'lastUsedAt',
    'exchangeCount'
  ]) {
    t.equal((await walk(grantd, `sort=${sort}&limit=1`, '/v1/app-registrations')).length, 6, sort)
  }
  t.notOk('total' in answer.json())
})
