import t from 'tap'
import { startApp } from '../fixtures/app/app.ts'
import { asServingRole, createDatabase, query, withClient } from '../fixtures/app/database.ts'

/** Defaults of a database on which nothing that grantd does may depend. */
const DEFAULTS = [
  "datestyle = 'German'",
  "datestyle = 'SQL, DMY'",
  "datestyle = 'Postgres'",
  "intervalstyle = 'sql_standard'",
  "timezone = 'Asia/Kathmandu'",
  "client_encoding = 'LATIN1'",
  "bytea_output = 'escape'",
  'standard_conforming_strings = off',
  'array_nulls = off',
  'transform_null_equals = on',
  'row_security = off',
  "search_path = 'elsewhere'",
  "search_path = ''",
  "default_transaction_isolation = 'serializable'",
  'default_transaction_deferrable = on',
  'statement_timeout = 20',
  'lock_timeout = 1',
  'idle_in_transaction_session_timeout = 1',
  'idle_session_timeout = 300',
  'transaction_timeout = 20',
  'extra_float_digits = -15',
  "plan_cache_mode = 'force_custom_plan'",
  'enable_indexscan = off',
  "lc_messages = 'C'",
  "grantd.site_id = 'umbrella'"
]

for (const setting of DEFAULTS) {
  t.test(`a database with ${setting} serves like any other`, async t => {
    const databaseUrl = await createDatabase(t)
    await query(databaseUrl, `alter database ${new URL(databaseUrl).pathname.slice(1)} set ${setting}`)
    const grantd = await startApp(t, { databaseUrl: asServingRole(databaseUrl) })
    const registered = await grantd.register({ name: 'Zażółć 🚀' })
    t.equal((await grantd.exchange(registered)).status, 200)
    const read = (await grantd.asAdmin('GET', registered.path)).json()
    t.match(read, { name: 'Zażółć 🚀', lastUsedAt: /Z$/, registeredAt: /Z$/ })
    const listed = await grantd.asAdmin('GET', '/v1/sites/acme/app-registrations?search=zazo')
    t.match(listed.json(), { items: [{ clientId: registered.clientId }] })
    const audit = await grantd.asAdmin('GET', '/v1/sites/acme/audit-events')
    t.match(audit.json(), { items: [{ action: 'registration.created' }] })
    t.equal((await grantd.asAdmin('DELETE', registered.path)).status, 204)
  })
}

t.test('a database that takes no writes goes on issuing tokens, because administrators use that setting', async t => {
  const databaseUrl = await createDatabase(t)
  const serving = asServingRole(databaseUrl)
  const grantd = await startApp(t, { databaseUrl: serving })
  const registered = await grantd.register()
  t.equal((await grantd.exchange(registered)).status, 200)
  await query(
    databaseUrl,
    `alter database ${new URL(databaseUrl).pathname.slice(1)} set default_transaction_read_only = on`
  )
  await query(
    databaseUrl,
    'select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()'
  )
  t.equal((await grantd.exchange(registered)).status, 200)
  t.equal((await grantd.asAdmin('PATCH', registered.path, { body: { enabled: false } })).status, 503)
  // So that closing can write Last used.
  await withClient(databaseUrl, async client => {
    await client.query('set default_transaction_read_only = off')
    await client.query(`alter database ${new URL(databaseUrl).pathname.slice(1)} reset default_transaction_read_only`)
  })
})
