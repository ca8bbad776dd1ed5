import { createHash } from 'node:crypto'
import fc from 'fast-check'
import type { Kysely } from 'kysely'
import t, { type Test } from 'tap'
import type { Database } from '../../../../src/database/schema.ts'
import {
  type AssertionUse,
  MAX_LIVE_USES,
  recordAssertionUses
} from '../../../../src/oauth/client-authentication/assertion-uses/repository.ts'
import {
  asServingRole,
  createDatabase,
  openTestPipelinedConnections,
  openTestTables,
  query
} from '../../../fixtures/app/database.ts'
import { insertRegistrationRow } from '../../../fixtures/app/registration-row.ts'

const NOW = Date.parse('2026-11-27T10:00:00.000Z')

/** A database with so many registrations, and two instances that use assertions of their clients. */
async function start(t: Test, registrations: number) {
  const url = await createDatabase(t)
  const clientIds: string[] = []
  for (let each = 0; each < registrations; each++) {
    const { clientId } = await insertRegistrationRow(url, { expiresAt: NOW + 1_000_000, armedAt: NOW })
    clientIds.push(clientId)
  }
  const open = () => openTestPipelinedConnections(t, asServingRole(url)).assertionUses
  return { url, clientIds: clientIds.sort(), one: open(), other: open() }
}

/** A digest as the database keeps it. */
const digest = (name: string | number) => createHash('sha256').update(String(name)).digest().readBigInt64BE().toString()

const use = (clientId: string, name: string | number, end = NOW + 60_000): AssertionUse => ({
  clientId,
  digest: digest(name),
  end
})

async function added(db: Kysely<Database>, uses: AssertionUse[], dropUntil = NOW): Promise<string[]> {
  const rows = await recordAssertionUses(db, uses, dropUntil)
  return rows.flatMap(row => row.added).sort()
}

t.test('an assertion is added once, by whichever instance asks', async t => {
  const { clientIds, one, other } = await start(t, 2)
  const [a = '', b = ''] = clientIds
  t.same(await added(one, [use(a, 1)]), [digest(1)])
  for (const db of [one, other]) t.same(await added(db, [use(a, 1)]), [])
  t.same(await added(other, [use(a, 1), use(a, 2), use(b, 1)]), [digest(1), digest(2)].sort(), 'clients do not share')
  t.same(await added(one, [use(b, 3), use(b, 3), use(b, 3)]), [digest(3)], 'thrice in one statement')
  t.same(await added(one, []), [])
  t.same(await added(one, [use('0'.repeat(20), 1)]), [], 'no registration')
})

t.test('at most 1,024 are kept for a client, and the next is added as soon as one has been dropped', async t => {
  const { url, clientIds, one } = await start(t, 2)
  const [a = '', b = ''] = clientIds
  const many = (clientId: string, from: number, to: number) =>
    Array.from({ length: to - from }, (_, each) => use(clientId, from + each, NOW + 60_000 + from + each))
  // One client has them in one statement, the other one by one beyond a thousand.
  t.equal((await added(one, many(a, 0, 1_100))).length, MAX_LIVE_USES)
  t.equal((await added(one, many(b, 0, 1_020))).length, 1_020)
  t.equal((await added(one, many(b, 1_000, 1_030))).length, 4)
  for (const clientId of clientIds) {
    const [outcome] = await recordAssertionUses(one, [use(clientId, 1_025)], NOW)
    t.same(outcome, { client_id: clientId, added: [], full_until: new Date(NOW + 60_000) })
    const [next] = await recordAssertionUses(
      one,
      [1_026, 1_027].map(name => use(clientId, name, NOW + 120_000)),
      NOW + 60_000
    )
    t.same(next, { client_id: clientId, added: [digest(1_026)], full_until: new Date(NOW + 60_000 + 1) })
  }
  const rows = await query(url, 'select pg_column_size(digests) + pg_column_size(ends) as bytes from assertion_uses')
  for (const row of rows) t.ok(Object(row).bytes < 17_000, 'the row is bounded')
})

// [ASSERTION-15]
t.test('a digest is dropped when its assertion has ended, and such an assertion is never added again', async t => {
  const { url, clientIds, one, other } = await start(t, 1)
  const [a = ''] = clientIds
  await added(one, [use(a, 1, NOW + 1_000), use(a, 2, NOW + 2_000)])
  t.same(await added(one, [use(a, 3, NOW + 9_000)], NOW + 1_000), [digest(3)])
  t.same(await query(url, 'select cardinality(digests) as kept from assertion_uses'), [{ kept: 2 }])
  // The clock of the other instance is behind by more than the assertion lives.
  t.same(await added(other, [use(a, 1, NOW + 1_000)], NOW - 60_000), [])
  t.same(await added(one, [use(a, 1, NOW + 9_000)], NOW + 1_000), [digest(1)], 'the same jti, much later')
})

t.test('a registration that is deleted takes its uses with it, also by an administrator of one Site', async t => {
  const { url, clientIds, one } = await start(t, 1)
  const [a = ''] = clientIds
  await added(one, [use(a, 1)])
  const tables = openTestTables(t, asServingRole(url))
  await tables.ofSite('acme').deleteFrom('registrations').where('client_id', '=', a).execute()
  t.same(await query(url, 'select * from assertion_uses'), [])
  t.same(await added(one, [use(a, 1)]), [])
})

/** The uses of one client, as the statement is to keep them. */
class Oracle {
  #live = new Map<string, number>()
  #droppedUntil = Number.NEGATIVE_INFINITY
  #exists = false

  /** @returns what is added */
  record(uses: readonly AssertionUse[], dropUntil: number): string[] {
    const first = new Map<string, number>()
    for (const { digest, end } of uses) if (!first.has(digest)) first.set(digest, end)
    const recent = [...first].filter(([, end]) => end > dropUntil)
    if (recent.length === 0) return []
    for (const [digest, end] of this.#live) if (end <= dropUntil) this.#live.delete(digest)
    const added: string[] = []
    for (const [digest, end] of recent) {
      if (this.#live.has(digest) || end <= this.#droppedUntil || this.#live.size >= MAX_LIVE_USES) continue
      this.#live.set(digest, end)
      added.push(digest)
    }
    this.#droppedUntil = Math.max(this.#droppedUntil, dropUntil)
    this.#exists = true
    return added
  }

  /** As its row. */
  get row(): unknown {
    return this.#exists
      ? { digests: [...this.#live.keys()], ends: [...this.#live.values()], until: this.#droppedUntil }
      : undefined
  }
}

// [ASSERTION-23]
t.test('the statement does what a plain program does, whatever the order of uses, ends and clocks', async t => {
  const { url, clientIds, one, other } = await start(t, 3)
  const instant = fc.integer({ min: 0, max: 20 }).map(each => NOW + each * 1_000)
  const single = fc.record({ client: fc.nat(2), name: fc.nat(8), end: instant, copies: fc.constant(1) })
  const burst = fc.record({
    client: fc.nat(2),
    name: fc.integer({ min: 9, max: 1_500 }),
    end: instant,
    copies: fc.constant(700)
  })
  const statements = fc.array(
    fc.record({
      uses: fc.array(fc.oneof({ weight: 12, arbitrary: single }, { weight: 1, arbitrary: burst }), { maxLength: 6 }),
      dropUntil: instant,
      isFirst: fc.boolean()
    }),
    { maxLength: 8 }
  )
  const property = fc.asyncProperty(statements, async all => {
    await query(url, 'delete from assertion_uses')
    const oracles = new Map(clientIds.map(clientId => [clientId, new Oracle()]))
    for (const { uses, dropUntil, isFirst } of all) {
      const given = uses.flatMap(({ client, name, end, copies }) =>
        Array.from({ length: copies }, (_, each) => use(clientIds[client] ?? '', name + each, end))
      )
      const expected = [...oracles].flatMap(([clientId, oracle]) =>
        oracle.record(
          given.filter(each => each.clientId === clientId),
          dropUntil
        )
      )
      t.same(await added(isFirst ? one : other, given, dropUntil), expected.sort())
    }
    const rows = await query(url, 'select client_id, digests, ends, dropped_until from assertion_uses')
    const kept = new Map(
      rows.map(Object).map(row => {
        const ends = row.ends.map((end: Date) => end.getTime())
        return [row.client_id, { digests: row.digests, ends, until: row.dropped_until.getTime() }]
      })
    )
    for (const [clientId, oracle] of oracles) t.same(kept.get(clientId), oracle.row)
  })
  await fc.assert(property, { numRuns: 60 })
})

t.test('of two instances that record the same uses at once, one adds each, and neither waits for ever', async t => {
  const { url, clientIds, one, other } = await start(t, 1)
  const [a = ''] = clientIds
  await query(
    url,
    `insert into registrations (client_id, site_id, name, name_folded, secret_hash, secret_mac, secret_mac_key_id, secret_created_at, scopes, enabled,
       registered_at, expires_at, expiry_set_at)
     select lpad(to_hex(i * 7919 % 65536) || i, 20, 'z'), site_id, name, name_folded, secret_hash, secret_mac,
       secret_mac_key_id, secret_created_at, scopes, enabled, registered_at, expires_at, expiry_set_at
     from registrations, generate_series(1, 400) as i where client_id = $1`,
    [a]
  )
  const all = (await query(url, 'select client_id from registrations')).map(row => String(Object(row).client_id))
  for (let round = 0; round < 15; round++) {
    // The first round inserts every row, and the others update them.
    const uses = all.map(clientId => use(clientId, `${clientId} ${round}`))
    const outcomes = await Promise.all([
      added(one, uses),
      added(other, uses.toReversed()),
      added(one, uses.toReversed()),
      added(other, uses)
    ])
    t.same(outcomes.flat().sort(), uses.map(each => each.digest).sort())
  }
})
