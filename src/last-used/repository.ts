import { type Kysely, type RawBuilder, sql } from 'kysely'
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
 * Records uses of clients whose registration still has that version, and which were used before.
 *
 * @returns the clients and versions that were recorded
 */
export function recordUsesOfUnchanged(
  db: Kysely<Database>,
  uses: readonly VersionUse[]
): Promise<{ client_id: string; version: number }[]> {
  const sorted = uses.toSorted((one, other) => order(one.clientId, other.clientId))
  const { clientIds, odd, even } = columnsOf(sorted.map(({ clientId, use }) => [clientId, use]))
  const versions = sorted.map(({ version }) => version)
  return recordOfUnchanged(db, clientIds, odd, even, versions)
}

/** Records a use of each of these clients, in one statement. Clients that were deleted meanwhile are left out. */
export async function recordUses(db: Kysely<Database>, uses: Uses): Promise<void> {
  const { clientIds, odd, even } = columnsOf([...uses].sort(([one], [other]) => order(one, other)))
  await record(db, clientIds, odd, even)
}

/** Every instance writes in one order, so that two batches never wait for each other. */
function order(one: string, other: string): number {
  return one < other ? -1 : 1
}

function columnsOf(uses: readonly (readonly [string, Use])[]): {
  clientIds: string[]
  odd: (Date | null)[]
  even: (Date | null)[]
} {
  return {
    clientIds: uses.map(([clientId]) => clientId),
    odd: uses.map(([, { oddAt }]) => instantOf(oddAt)),
    even: uses.map(([, { evenAt }]) => instantOf(evenAt))
  }
}

function instantOf(at: number): Date | null {
  return at === 0 ? null : new Date(at)
}

type Ids = readonly string[]
type Instants = readonly (Date | null)[]

const recordOfUnchanged = statement((db, clientIds: Ids, odd: Instants, even: Instants, versions: readonly number[]) =>
  db
    .updateTable('registration_last_used')
    .from(
      sql<{
        client_id: string
        version: number
      }>`unnest(${clientIds}::text[], ${odd}::timestamptz[], ${even}::timestamptz[], ${versions}::integer[])`.as<'noted'>(
        sql`noted(client_id, odd_at, even_at, version)`
      )
    )
    .innerJoin('registrations', join =>
      join
        .onRef('registrations.client_id', '=', 'noted.client_id') // Index: registrations_pkey
        .onRef('registrations.version', '=', 'noted.version')
    )
    .set(forward(sql`noted.odd_at`, sql`noted.even_at`))
    .whereRef('registration_last_used.client_id', '=', 'noted.client_id') // Index: registration_last_used_pkey
    .returning(['registration_last_used.client_id', 'noted.version'])
)

const record = statement((db, clientIds: Ids, odd: Instants, even: Instants) =>
  db
    .insertInto('registration_last_used')
    .columns(['client_id', 'last_used_at', 'odd_credential_used_at', 'even_credential_used_at'])
    .expression(
      db
        .selectFrom(
          sql<{
            client_id: string
            odd_at: Date | null
            even_at: Date | null
          }>`unnest(${clientIds}::text[], ${odd}::timestamptz[], ${even}::timestamptz[])`.as<'noted'>(
            sql`noted(client_id, odd_at, even_at)`
          )
        )
        .innerJoin('registrations', 'registrations.client_id', 'noted.client_id') // Index: registrations_pkey
        .select([
          'noted.client_id',
          sql<Date>`greatest(noted.odd_at, noted.even_at)`.as('at'),
          'noted.odd_at',
          'noted.even_at'
        ])
        .orderBy('noted.client_id')
    )
    .onConflict(conflict =>
      conflict
        .column('client_id')
        .doUpdateSet(forward(sql`excluded.odd_credential_used_at`, sql`excluded.even_credential_used_at`))
    )
)

/** Forward only: a late batch from another instance must not move the clock back. `greatest` ignores nulls. */
function forward(odd: RawBuilder<Date>, even: RawBuilder<Date>) {
  return {
    last_used_at: sql<Date>`greatest(registration_last_used.last_used_at, ${odd}, ${even})`,
    odd_credential_used_at: sql<Date>`greatest(registration_last_used.odd_credential_used_at, ${odd})`,
    even_credential_used_at: sql<Date>`greatest(registration_last_used.even_credential_used_at, ${even})`
  }
}
