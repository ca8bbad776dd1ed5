import { execFile } from 'node:child_process'
import { readdirSync } from 'node:fs'
import path from 'node:path'
import { promisify } from 'node:util'
import type { Kysely } from 'kysely'
import t, { type Test } from 'tap'
import { withClient as withOwner } from '../../src/database/client.ts'
import { connect } from '../../src/database/connect.ts'
import { apply, pendingMigrations } from '../../src/database/migrator.ts'
import type { Database } from '../../src/database/schema.ts'
import { startApp } from '../fixtures/app/app.ts'
import {
  asServingRole,
  createEmptyDatabase,
  migrateDatabase,
  openTestDatabase,
  query,
  withClient
} from '../fixtures/app/database.ts'
import { insertRegistrationRow } from '../fixtures/app/registration-row.ts'
import { ROOT } from '../fixtures/run/paths.ts'
import { until } from '../fixtures/run/until.ts'

const MIGRATIONS = readdirSync(path.join(ROOT, 'migrations'))
  .filter(file => /^\d/.test(file))
  .map(file => path.basename(file, '.sql'))
  .sort()

const INSERT_KEY = `insert into signing_keys
  (kid, algorithm, public_jwk, private_jwe, proof_hash, created_at, generation, signs_from, signs_until)
  values (repeat('k', 43), 'ES256', '{}', 'a..b.c.d', sha256(''), now(), 1, now(), now() + '1 day')`

/** A database with nothing in it. */
async function emptyDatabase(t: Test): Promise<{ url: string; db: Kysely<Database> }> {
  const url = await createEmptyDatabase(t)
  return { url, db: openTestDatabase(t, url) }
}

async function appliedMigrations(url: string): Promise<unknown[]> {
  return query(url, 'select name from grantd_migrations order by name')
}

async function tables(url: string): Promise<unknown[]> {
  return query(url, `select tablename from pg_tables where schemaname = 'public' order by 1`)
}

/** The whole schema as text: columns, constraints, indexes, grants. */
async function schemaOf(url: string): Promise<unknown[]> {
  return query(
    url,
    `select table_name || '.' || column_name || ' ' || data_type || ' ' || is_nullable as line
       from information_schema.columns where table_schema = 'public'
     union all select conname || ' ' || pg_get_constraintdef(oid) from pg_constraint
       where connamespace = 'public'::regnamespace
     union all select indexdef from pg_indexes where schemaname = 'public'
     union all select table_name || ' ' || privilege_type from information_schema.role_table_grants
       where grantee = current_database() || '_serving' and table_schema = 'public'
     order by 1`
  )
}

t.test('the migrations are numbered without a gap, so that each has one place in the order', async t => {
  t.ok(MIGRATIONS.length > 0)
  t.same(
    MIGRATIONS.map(name => Number(name.slice(0, 4))),
    MIGRATIONS.map((_, index) => index + 1)
  )
})

t.test('an empty database is brought to the newest schema, the oldest migration first', async t => {
  const { url, db } = await emptyDatabase(t)
  t.same(await pendingMigrations(db), MIGRATIONS)
  t.same(await migrateDatabase(url), { applied: MIGRATIONS, warnings: [] })
  t.same(await pendingMigrations(db), [])
  t.same(
    await appliedMigrations(url),
    MIGRATIONS.map(name => ({ name }))
  )
})

t.test('migrating again applies nothing and leaves schema and rows as they are', async t => {
  const { url } = await emptyDatabase(t)
  await migrateDatabase(url)
  await query(url, INSERT_KEY)
  const before = [await schemaOf(url), await query(url, 'select * from grantd_migrations, signing_keys')]
  t.same(await migrateDatabase(url), { applied: [], warnings: [] })
  t.same([await schemaOf(url), await query(url, 'select * from grantd_migrations, signing_keys')], before)
})

t.test('6 instances that migrate one empty database at once apply each migration once, without an error', async t => {
  for (let round = 0; round < 8; round++) {
    const { url } = await emptyDatabase(t)
    const applied = await Promise.all(
      Array.from({ length: 6 }, async () => {
        const connection = await connect({
          url,
          migrationUrl: url,
          poolSize: 2,
          onIdleError: () => {},
          onConnectionChange: () => {}
        })
        try {
          return (await connection.migrate()).applied
        } finally {
          await connection.close()
        }
      })
    )
    t.same(applied.flat().sort(), MIGRATIONS, `round ${round}`)
    t.same(
      await appliedMigrations(url),
      MIGRATIONS.map(name => ({ name }))
    )
  }
})

t.test('6 processes that migrate one empty database at once all succeed', async t => {
  const { url } = await emptyDatabase(t)
  const outputs = await Promise.all(
    Array.from({ length: 6 }, async () => {
      const { stdout, stderr } = await promisify(execFile)(process.execPath, ['src/commands/migrate.ts'], {
        cwd: ROOT,
        env: { DATABASE_URL: url }
      })
      t.equal(stderr, '')
      return stdout.trim()
    })
  )
  t.same(
    outputs.toSorted(),
    [MIGRATIONS.join('\n'), ...Array.from({ length: 5 }, () => 'nothing to migrate')].toSorted()
  )
})

t.test('two databases of one server that are migrated at once both get their serving role', async t => {
  const databases = await Promise.all([1, 2, 3, 4].map(() => emptyDatabase(t)))
  await Promise.all(databases.map(({ url }) => migrateDatabase(url)))
  const [first, ...others] = await Promise.all(databases.map(({ url }) => schemaOf(url)))
  for (const other of others) t.same(other, first)
})

t.test('a migration that fails leaves nothing behind, neither its own nor those before it', async t => {
  const { url, db } = await emptyDatabase(t)
  await query(url, 'create table signing_keys (in_the_way text)')
  await t.rejects(migrateDatabase(url), { code: '42P07' })
  t.same(await appliedMigrations(url), [])
  t.same(await query(url, `select from pg_tables where tablename in ('registrations', 'registration_last_used')`), [])
  t.same(await pendingMigrations(db), MIGRATIONS)
  await query(url, 'drop table signing_keys')
  t.same((await migrateDatabase(url)).applied, MIGRATIONS, 'and the next try applies all')
})

t.test('a database that a later release has migrated is served as it is, and not migrated by this one', async t => {
  const { url, db } = await emptyDatabase(t)
  await migrateDatabase(url)
  await query(url, `insert into grantd_migrations values ('9999_of_a_later_release', '2999-01-01T00:00:00.000Z')`)
  const before = await schemaOf(url)
  t.same(await pendingMigrations(db), [], 'an instance of this release starts on it')
  await t.rejects(migrateDatabase(url), { message: /9999_of_a_later_release/ })
  t.same(await schemaOf(url), before)
})

t.test('what serves needs no more than the serving role: a registration lives its whole life in it', async t => {
  const { url } = await emptyDatabase(t)
  await migrateDatabase(url)
  const grantd = await startApp(t, { databaseUrl: asServingRole(url) })
  const registered = await grantd.register()
  t.equal((await grantd.exchange(registered)).status, 200)
  t.equal((await grantd.asAdmin('PATCH', registered.path, { body: { enabled: false } })).status, 200)
  t.not((await grantd.asAdmin('GET', registered.path)).json().lastUsedAt, null)
  t.equal((await grantd.asAdmin('DELETE', registered.path)).status, 204)
  t.same(await pendingMigrations(openTestDatabase(t, asServingRole(url))), [], 'it can tell that it need not migrate')
})

// [SECRET-6]
t.test('the serving role can change neither the schema nor a signing key', async t => {
  const { url } = await emptyDatabase(t)
  await migrateDatabase(url)
  await query(url, INSERT_KEY)
  const before = [await tables(url), await schemaOf(url), await query(url, 'select * from signing_keys')]
  for (const statement of [
    'alter table registrations add column extra text',
    'alter table registrations drop constraint registrations_secret_hash_format',
    'drop table registrations',
    'drop table signing_keys cascade',
    'truncate registrations cascade',
    'truncate signing_keys',
    'create table extra (id integer)',
    'create index extra on registrations (name)',
    'create schema extra',
    'create role extra superuser',
    `update signing_keys set kid = 'mine'`,
    `update signing_keys set signs_from = now(), private_jwe = 'mine'`,
    `update signing_keys set signs_until = now()`,
    `update signing_keys set generation = 9`,
    `update signing_keys set public_jwk = '{"kty":"EC"}'`,
    'delete from signing_keys',
    `${INSERT_KEY} on conflict (kid) do update set public_jwk = '{}'`,
    'delete from registration_last_used',
    `insert into grantd_migrations values ('0000_mine', '2026-01-01T00:00:00.000Z')`,
    'delete from grantd_migrations',
    'drop table audit_chains cascade'
  ]) {
    await t.rejects(query(asServingRole(url), statement), { code: '42501' }, statement)
  }
  t.same([await tables(url), await schemaOf(url), await query(url, 'select * from signing_keys')], before)
})

t.test('rights that were given to the serving role by hand are taken back by the next migration', async t => {
  const { url } = await emptyDatabase(t)
  await migrateDatabase(url)
  const before = await schemaOf(url)
  await query(url, `grant update, delete on signing_keys to ${new URL(url).pathname.slice(1)}_serving`)
  await query(asServingRole(url), 'delete from signing_keys')
  await migrateDatabase(url)
  t.same(await schemaOf(url), before)
  await t.rejects(query(asServingRole(url), 'delete from signing_keys'), { code: '42501' })
})

t.test('the schema refuses a secret that is not hashed, and ids that are not ours', async t => {
  const { url } = await emptyDatabase(t)
  await migrateDatabase(url)
  const insert = (clientId: string, siteId: string, hash: string) =>
    query(
      url,
      `insert into registrations
        (client_id, site_id, name, name_folded, secret_hash, secret_mac, secret_mac_key_id, secret_created_at, scopes, enabled, registered_at, expires_at,
         expiry_set_at)
        values ($1, $2, 'n', 'n', $3, decode(repeat('00', 32), 'hex'), 'none', now(), '{}', true, now(), now() + '1 day', now())`,
      [clientId, siteId, hash]
    )
  const hash = '$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA'
  await insert('a'.repeat(20), 'acme', hash)
  await t.rejects(insert('b'.repeat(20), 'acme', 'grantd_plain'), { message: /registrations_secret_hash_format/ })
  await t.rejects(insert('B'.repeat(20), 'acme', hash), { message: /registrations_client_id_format/ })
  await t.rejects(insert('b'.repeat(20), '../acme', hash), { message: /registrations_site_id_format/ })
  await t.rejects(insert('a'.repeat(20), 'globex', hash), { message: /registrations_pkey/ })
})

t.test(
  'the schema refuses a hash of a secret that changes without its MAC, and a MAC that changes without its hash',
  async t => {
    const { url } = await emptyDatabase(t)
    await migrateDatabase(url)
    const { clientId } = await insertRegistrationRow(url, { expiresAt: 1, armedAt: 0 })
    const update = (set: string) => query(url, `update registrations set ${set} where client_id = '${clientId}'`)
    const mac = (byte: string) => `decode(repeat('${byte}', 32), 'hex')`
    const refused = { message: 'the hash and the MAC of a secret change together' }
    await t.rejects(update("secret_hash = '$argon2id$other'"), refused)
    await t.rejects(update(`secret_mac = ${mac('01')}`), refused)
    await t.rejects(update("secret_mac_key_id = 'another'"), refused)
    await t.rejects(update("secret_hash = '$argon2id$other', secret_mac_key_id = 'another'"), refused)
    await t.rejects(update("secret_mac = '\\x01', secret_hash = '$argon2id$other'"), { message: /secret_mac_length/ })
    await update(`secret_hash = '$argon2id$other', secret_mac = ${mac('01')}`)
    await update(`secret_mac = ${mac('02')}, secret_mac_key_id = 'another'`)
    await update('name = name, version = version + 1')

    const previous = `previous_secret_hash = '$argon2id$a', previous_secret_created_at = now(), previous_secret_expires_at = now()`
    await t.rejects(update(previous), { message: /change together|previous_secret_complete/ })
    await update(`${previous}, previous_secret_mac = ${mac('03')}, previous_secret_mac_key_id = 'k'`)
    await t.rejects(update("previous_secret_hash = '$argon2id$b'"), refused)
    await t.rejects(update(`previous_secret_mac = ${mac('04')}`), refused)
    await update(`previous_secret_mac = ${mac('04')}, previous_secret_mac_key_id = 'another'`)
  }
)

t.test('a migration that finds a table in use gives up its place, lets others pass, and tries again', async t => {
  const { url } = await emptyDatabase(t)
  await query(url, 'create table measured (at integer)')
  const text = 'alter table measured add column other integer'
  await withClient(url, async reader => {
    await reader.query('begin')
    await reader.query('select from measured')
    const applying = withOwner(url, async client => {
      await client.query('create table grantd_migrations (name text primary key, applied_at timestamptz default now())')
      await apply(client, '0002_other', text, '100ms')
    })
    await until('it has waited for the reader', async () => {
      const waiting = await query(url, `select from pg_stat_activity where wait_event_type = 'Lock' and query = $1`, [
        text
      ])
      return waiting.length === 1
    })
    // It would wait behind the migration as long as that waits.
    t.same(await query(url, 'select from measured'), [])
    await reader.query('commit')
    await applying
  })
  t.same(await appliedMigrations(url), [{ name: '0002_other' }])
  t.same(await query(url, 'select other from measured'), [])
})

t.test('a migration outside a transaction can build an index while others write', async t => {
  const { url } = await emptyDatabase(t)
  await query(url, 'create table measured (at integer)')
  await withOwner(url, async client => {
    await client.query('create table grantd_migrations (name text primary key, applied_at timestamptz default now())')
    await apply(
      client,
      '0002_index',
      '-- outside a transaction\ncreate index concurrently measured_at on measured (at)'
    )
  })
  t.same(await query(url, `select indexname from pg_indexes where tablename = 'measured'`), [
    { indexname: 'measured_at' }
  ])
  t.same(await appliedMigrations(url), [{ name: '0002_index' }])
})
