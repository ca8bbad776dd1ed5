import type pg from 'pg'

/** The table that holds the applied migrations. It marks the schema in which grantd lives. */
export const MIGRATIONS_TABLE = 'grantd_migrations'

/**
 * Session settings that grantd's statements, or the parsing of their results, rely on. A database or a role can have
 * other defaults, so each connection sets them. `default_transaction_read_only` is left alone: administrators use it
 * to stop writes.
 */
const SETTINGS = [
  // First, so that no limit of the database stops the statements after it.
  'statement_timeout = 0',
  'lock_timeout = 0',
  'idle_session_timeout = 0',
  'idle_in_transaction_session_timeout = 0',
  "datestyle = 'ISO, MDY'",
  "intervalstyle = 'postgres'",
  "timezone = 'UTC'",
  "client_encoding = 'UTF8'",
  "bytea_output = 'hex'",
  'standard_conforming_strings = on',
  'array_nulls = on',
  'transform_null_equals = off',
  'row_security = on',
  "default_transaction_isolation = 'read committed'",
  'default_transaction_deferrable = off'
]

/** Postgres 17 and later. */
const NO_TRANSACTION_TIMEOUT = `select set_config('transaction_timeout', '0', false)
  where current_setting('transaction_timeout', true) is not null`

/**
 * Selects the schema that holds grantd, wherever the search path of the connection leads. When there is none yet, the
 * schema in which this role would create tables. Temporary tables come last, so that they hide no table of grantd.
 */
const SEARCH_PATH = `select set_config('search_path', coalesce(
  (select quote_ident(nspname) from pg_catalog.pg_class join pg_catalog.pg_namespace on pg_namespace.oid = relnamespace
    where relname = '${MIGRATIONS_TABLE}' and relkind = 'r' and has_schema_privilege(pg_namespace.oid, 'usage')
    order by array_position(current_schemas(false), nspname), nspname limit 1),
  quote_ident(current_schema()),
  'pg_catalog'
) || ', pg_temp', false)`

/**
 * Prepares the session of a new connection, so that it does not depend on defaults of the server, database or role.
 *
 * @param settings more settings, each as `name = value`
 */
export async function prepareSession(client: pg.ClientBase, settings: readonly string[] = []): Promise<void> {
  const statements = [...SETTINGS.map(assign), NO_TRANSACTION_TIMEOUT, SEARCH_PATH, ...settings.map(assign)]
  await client.query(statements.join(';\n'))
}

function assign(setting: string): string {
  return `set ${setting}`
}
