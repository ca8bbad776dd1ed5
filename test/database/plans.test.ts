import type { CompiledQuery, Kysely } from 'kysely'
import t from 'tap'
import { sessionSettings } from '../../src/database/connect.ts'
import type { Database } from '../../src/database/schema.ts'
import { recordUses, recordUsesOfUnchanged } from '../../src/last-used/repository.ts'
import { useOf } from '../../src/last-used/use.ts'
import { recordAssertionUses } from '../../src/oauth/client-authentication/assertion-uses/repository.ts'
import { findClients, findUnchanged } from '../../src/registrations/clients/repository.ts'
import { asServingRole, createDatabase, openTestDatabase, query, withClient } from '../fixtures/app/database.ts'

/** What every exchange asks, and on which lane. */
const STATEMENTS: [string, keyof typeof sessionSettings, (db: Kysely<Database>) => Promise<unknown>][] = [
  ['findClients', 'lookups', db => findClients(db, [])],
  ['findUnchanged', 'lookups', db => findUnchanged(db, [], [])],
  ['recordAssertionUses', 'lookups', db => recordAssertionUses(db, [], 0)],
  ['recordUsesOfUnchanged', 'lastUsedWriter', db => recordUsesOfUnchanged(db, [])],
  ['recordUses', 'lastUsedWriter', db => recordUses(db, new Map([['a', useOf(1, 0)]]))]
]

/** @returns the text of the statement that this work sends */
async function textOf(db: Kysely<Database>, work: (db: Kysely<Database>) => Promise<unknown>): Promise<string> {
  const texts: string[] = []
  const listening = new Proxy(db, {
    get: (target, member) => {
      const own = Reflect.get(target, member, target)
      if (member !== 'executeQuery') return typeof own === 'function' ? own.bind(target) : own
      return async (compiled: CompiledQuery) => {
        texts.push(compiled.sql)
        return { rows: [] }
      }
    }
  })
  await work(listening)
  return texts.join(';')
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
  const db = openTestDatabase(t, url)
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
      const text = await textOf(db, work)
      const behind = await planOf(asServingRole(url), sessionSettings[lane], text)
      const what = `${name} of ${registrations}`
      t.same(stepsOf(behind), stepsOf(await planOf(url, sessionSettings[lane], text)), what)
      t.match(behind.join('\n'), /InitPlan/, `${what} is behind the wall`)
      t.notMatch(behind.join('\n'), /current_setting/, `${what} asks for the setting once, not for each row`)
      if (registrations > 3) t.notMatch(behind.join('\n'), /Seq Scan/, what)
    }
  }
})
