import { type Kysely, type RawBuilder, sql } from 'kysely'
import { arrayOf } from '../database/array.ts'
import type { Database } from '../database/schema.ts'
import { statement } from '../database/statement.ts'
import type { Use } from './use.ts'

/** The latest use of each client. */
export type Uses = ReadonlyMap<string, Use>

/** A use of a client whose registration had this version. */
export interface VersionUse {
  clientId: string
  version: number
  use: Use
}

/**
 * Records uses of clients whose registration still has that version.
 *
 * @returns the clients and versions that were recorded
 */
export function recordUsesOfUnchanged(
  db: Kysely<Database>,
  uses: readonly VersionUse[]
): Promise<{ client_id: string; version: number }[]> {
  const sorted = uses.toSorted((one, other) => order(one.clientId, other.clientId))
  return recordOfUnchanged(
    db,
    arrayOf(sorted.map(({ clientId }) => clientId)),
    arrayOf(sorted.map(({ use }) => millisecondsOf(use.oddAt))),
    arrayOf(sorted.map(({ use }) => millisecondsOf(use.evenAt))),
    arrayOf(sorted.map(({ use }) => use.count)),
    arrayOf(sorted.map(({ version }) => version))
  )
}

/** Records a use of each of these clients, in one statement. Clients that were deleted meanwhile are left out. */
export async function recordUses(db: Kysely<Database>, uses: Uses): Promise<void> {
  const sorted = [...uses].sort(([one], [other]) => order(one, other))
  await record(
    db,
    arrayOf(sorted.map(([clientId]) => clientId)),
    arrayOf(sorted.map(([, { oddAt }]) => millisecondsOf(oddAt))),
    arrayOf(sorted.map(([, { evenAt }]) => millisecondsOf(evenAt))),
    arrayOf(sorted.map(([, { count }]) => count))
  )
}

/** Every instance writes in one order, so that two batches never wait for each other. */
function order(one: string, other: string): number {
  return one < other ? -1 : 1
}

function millisecondsOf(at: number): number | 'null' {
  return at === 0 ? 'null' : at
}

// Instants are sent as milliseconds, because node-postgres takes a microsecond to write a Date.
const ODD_AT = sql<Date | null>`to_timestamp(noted.odd_ms / 1000)`
const EVEN_AT = sql<Date | null>`to_timestamp(noted.even_ms / 1000)`
const COUNT = sql<number>`noted.count`

const recordOfUnchanged = statement(
  (db, clientIds: string, odd: string, even: string, counts: string, versions: string) =>
    db
      .updateTable('registration_last_used')
      .from(
        sql<{
          client_id: string
          version: number
        }>`unnest(${clientIds}::text[], ${odd}::float8[], ${even}::float8[], ${counts}::bigint[], ${versions}::integer[])`.as<'noted'>(
          sql`noted(client_id, odd_ms, even_ms, count, version)`
        )
      )
      .innerJoin('registrations', join =>
        join
          .onRef('registrations.client_id', '=', 'noted.client_id') // Index: registrations_pkey
          .onRef('registrations.version', '=', 'noted.version')
      )
      .set(forward(ODD_AT, EVEN_AT, COUNT))
      .whereRef('registration_last_used.client_id', '=', 'noted.client_id') // Index: registration_last_used_pkey
      .returning(['registration_last_used.client_id', 'noted.version'])
)

const record = statement((db, clientIds: string, odd: string, even: string, counts: string) =>
  db
    .insertInto('registration_last_used')
    .columns([
      ...(['client_id', 'last_used_at', 'odd_credential_used_at', 'even_credential_used_at'] as const),
      ...(['exchange_count', 'exchange_count_bucket'] as const)
    ])
    .expression(
      db
        .selectFrom(
          sql<{
            client_id: string
          }>`unnest(${clientIds}::text[], ${odd}::float8[], ${even}::float8[], ${counts}::bigint[])`.as<'noted'>(
            sql`noted(client_id, odd_ms, even_ms, count)`
          )
        )
        .innerJoin('registrations', 'registrations.client_id', 'noted.client_id') // Index: registrations_pkey
        .select([
          'noted.client_id',
          sql<Date>`greatest(${ODD_AT}, ${EVEN_AT})`.as('at'),
          ODD_AT.as('odd_at'),
          EVEN_AT.as('even_at'),
          COUNT.as('count'),
          bucketOf(COUNT).as('bucket')
        ])
        .orderBy('noted.client_id')
        // A registration that is deleted meanwhile would violate the foreign key, and fail the uses of all other clients.
        .forKeyShare('registrations')
    )
    .onConflict(conflict =>
      conflict
        .column('client_id')
        .doUpdateSet(
          forward(
            sql`excluded.odd_credential_used_at`,
            sql`excluded.even_credential_used_at`,
            sql`excluded.exchange_count`
          )
        )
    )
)

/**
 * Instants move forward only: a late batch from another instance must not move the clock back. `greatest` ignores nulls.
 * The count grows.
 */
function forward(odd: RawBuilder<Date | null>, even: RawBuilder<Date | null>, count: RawBuilder<number>) {
  const exchangeCount = sql<number>`registration_last_used.exchange_count + ${count}`
  return {
    last_used_at: sql<Date>`greatest(registration_last_used.last_used_at, ${odd}, ${even})`,
    odd_credential_used_at: sql<Date>`greatest(registration_last_used.odd_credential_used_at, ${odd})`,
    even_credential_used_at: sql<Date>`greatest(registration_last_used.even_credential_used_at, ${even})`,
    exchange_count: exchangeCount,
    exchange_count_bucket: bucketOf(exchangeCount)
  }
}

/** For listings by the count. */
function bucketOf(count: RawBuilder<number>): RawBuilder<number> {
  return sql<number>`exchange_count_bucket(${count})`
}
