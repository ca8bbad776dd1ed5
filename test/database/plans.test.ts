import {
  type CompiledQuery,
  DummyDriver,
  Kysely,
  PostgresAdapter,
  PostgresIntrospector,
  PostgresQueryCompiler
} from 'kysely'
import t from 'tap'
import { sessionSettings } from '../../src/database/connect.ts'
import type { Database } from '../../src/database/schema.ts'
import { recordUses, recordUsesOfUnchanged } from '../../src/last-used/repository.ts'
import { useOf } from '../../src/last-used/use.ts'
import { recordAssertionUses } from '../../src/oauth/client-authentication/assertion-uses/repository.ts'
import { findStandings } from '../../src/oauth/issued-tokens/repository.ts'
import { findTicket } from '../../src/registrations/claims/repository.ts'
import { findClients, findUnchanged } from '../../src/registrations/clients/repository.ts'
import { clearOldRefusals } from '../../src/registrations/diagnosis/repository.ts'
import { findByDigests } from '../../src/registrations/leaks/repository.ts'
import { deleteEndedRevocations } from '../../src/registrations/token-revocation/repository.ts'
import { findEndOfBatch, listCandidates } from '../../src/registrations/unused/repository.ts'
import { asServingRole, createDatabase, query, withClient } from '../fixtures/app/database.ts'

/** What every exchange asks, and on which lane. */
const STATEMENTS: [string, keyof typeof sessionSettings, (db: Kysely<Database>) => Promise<unknown>][] = [
  ['findClients', 'lookups', db => findClients(db, [])],
  ['findUnchanged', 'lookups', db => findUnchanged(db, [], [])],
  ['findStandings', 'standings', db => findStandings(db, [])],
  ['recordAssertionUses', 'lookups', db => recordAssertionUses(db, [], 0)],
  ['recordUsesOfUnchanged', 'lastUsedWriter', db => recordUsesOfUnchanged(db, [])],
  ['recordUses', 'lastUsedWriter', db => recordUses(db, new Map([['a', useOf(1, 0)]]))]
]

/** @returns the statements that this work sends. No database answers them: each has no rows */
async function statementsOf(work: (db: Kysely<Database>) => Promise<unknown>): Promise<CompiledQuery[]> {
  const statements: CompiledQuery[] = []
  const db = new Kysely<Database>({
    dialect: {
      createAdapter: () => new PostgresAdapter(),
      createDriver: () => new DummyDriver(),
      createIntrospector: db => new PostgresIntrospector(db),
      createQueryCompiler: () => new PostgresQueryCompiler()
    },
    log: event => void statements.push(event.query)
  })
  await work(db)
  return statements
}

/** The plan that serves all parameters, as these settings have it. */
function planOf(url: string, settings: readonly string[], text: string): Promise<string[]> {
  return withClient(url, async client => {
    await client.query(settings.map(setting => `set ${setting}`).join(';'))
    await client.query(`prepare asked as ${text}`)
    const nulls = Array.from(new Set(text.match(/\$\d+/g)), () => 'null')
    const { rows } = await client.query(`explain (costs off) execute asked (${nulls})`)
    return rows.map(row => String(row['QUERY PLAN']))
  })
}

/** Its scans and joins in their order, without what is asked once for the whole statement or not at all. */
function stepsOf(plan: readonly string[]): string[] {
  let asideFrom = Number.POSITIVE_INFINITY
  return plan.flatMap((line, index) => {
    const depth = line.search(/\S/)
    if (depth > asideFrom) return []
    asideFrom = /^\s*(Init|Sub)Plan/.test(line) ? depth : Number.POSITIVE_INFINITY
    const isStep = index === 0 || /^\s*->/.test(line)
    return isStep ? [line.trim().replace('Index Only Scan', 'Index Scan')] : []
  })
}

// [SITE-15]
t.test('the wall changes no plan of the token endpoint, whether 3 are registered or 100,000', async t => {
  const url = await createDatabase(t)
  for (const registrations of [3, 100_000]) {
    await query(url, 'truncate registrations cascade')
    await query(
      url,
      `insert into registrations
         (client_id, site_id, name, name_folded, secret_hash, secret_mac, secret_mac_key_id, secret_created_at, scopes, enabled, registered_at,
          expires_at, expiry_set_at)
       select lpad(i::text, 20, 'a'), 'site-' || i % 100, 'n', 'n' || i, '$argon2id$', decode(repeat('00', 32), 'hex'), 'none', now(), '{}', true, now(), now(), now()
         from generate_series(1, $1::int) i`,
      [registrations]
    )
    await query(url, 'update registration_last_used set last_used_at = now()')
    await query(url, 'analyze')
    for (const [name, lane, work] of STATEMENTS) {
      const text = (await statementsOf(work)).map(({ sql }) => sql).join(';')
      const behind = await planOf(asServingRole(url), sessionSettings[lane], text)
      const what = `${name} of ${registrations}`
      t.same(stepsOf(behind), stepsOf(await planOf(url, sessionSettings[lane], text)), what)
      t.match(behind.join('\n'), /InitPlan/, `${what} is behind the wall`)
      t.notMatch(behind.join('\n'), /current_setting/, `${what} asks for the setting once, not for each row`)
      if (registrations > 3) t.notMatch(behind.join('\n'), /Seq Scan/, what)
    }
  }
})

t.test(
  'look-ups that anybody can cause, and background rounds, read indexes only, of 100,000 registrations',
  async t => {
    const url = await createDatabase(t)
    await query(
      url,
      `insert into registrations (client_id, site_id, name, name_folded, secret_hash, secret_mac, secret_mac_key_id, secret_digest,
       previous_secret_digest, secret_created_at, scopes, enabled, registered_at, expires_at, expiry_set_at)
     select substr(md5(i::text), 1, 20), 'site-' || i % 100, 'n', 'n' || i, '$argon2id$', decode(repeat('00', 32), 'hex'), 'none',
       substr(sha256(i::text::bytea), 1, 16), substr(sha256(i::text::bytea), 17, 16), now(), '{}', true, now(), now() + interval '1 day', now()
       from generate_series(1, 100000) i`
    )
    await query(
      url,
      `insert into claim_tickets (digest, client_id, overlap_seconds, created_at, expires_at)
     select sha256(client_id::bytea), client_id, 0, now(), now() from registrations`
    )
    await query(
      url,
      `insert into registration_refusals (client_id, with_credential_at, with_credential_reason, with_credential_source,
       without_credential_at, without_credential_reason, without_credential_source)
     select client_id, now(), 'expired', '::1', now(), 'wrong_secret', '::1' from registrations`
    )
    await query(
      url,
      `insert into token_revocations (client_id, jti, ends_at)
     select client_id, gen_random_uuid(), now() + interval '1 hour' from registrations`
    )
    await query(url, 'analyze')
    const now = new Date()
    const range = { now, quietSince: now, disablesSince: now, after: '4', upTo: '40a' }
    const works: [string, (db: Kysely<Database>) => Promise<unknown>][] = [
      ['findByDigests', db => findByDigests(db, Array(100).fill(Buffer.alloc(16, 1)))],
      ['findTicket', db => findTicket(db, Buffer.alloc(32, 1), now)],
      ['findStandings', db => findStandings(db, Array(100).fill('a'.repeat(20)))],
      ['clearOldRefusals', db => clearOldRefusals(db, now.getTime() - 30 * 86_400_000, 1_000)],
      ['findEndOfBatch', db => findEndOfBatch(db, '4', 1_000)],
      ['listCandidates', db => listCandidates(db, range)],
      ['deleteEndedRevocations', db => deleteEndedRevocations(db, 1_000)]
    ]
    for (const [name, work] of works) {
      const statements = await statementsOf(work)
      t.ok(statements.length > 0, name)
      for (const { sql, parameters } of statements) {
        const rows = await query(url, `explain (costs off) ${sql}`, [...parameters])
        const plan = rows.map(row => Object(row)['QUERY PLAN']).join('\n')
        t.match(plan, /Index/, name)
        t.notMatch(plan, /Seq Scan/, name)
      }
    }
  }
)
