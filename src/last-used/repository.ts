import { type Kysely, type RawBuilder, sql } from 'kysely'
import type { Database } from '../database/schema.ts'
import { statement } from '../database/statement.ts'
import type { Uses } from './group-commit.ts'

/**
 * Moves Last used of those clients whose registration has the version at the same place of the list, and which have
 * been used before.
 *
 * @returns those it moved
 */
export async function moveLastUsedOfUnchanged(
  db: Kysely<Database>,
  uses: Uses,
  versions: ReadonlyMap<string, number>
): Promise<string[]> {
  const { clientIds, odd, even } = columnsOf(uses)
  const known = clientIds.map(clientId => versions.get(clientId) ?? 0)
  return (await moveOfUnchanged(db, clientIds, odd, even, known)).map(row => row.client_id)
}

/** Moves Last used forward for each of these clients, in one statement. Clients deleted meanwhile are left out. */
export async function moveLastUsed(db: Kysely<Database>, uses: Uses): Promise<void> {
  const { clientIds, odd, even } = columnsOf(uses)
  await move(db, clientIds, odd, even)
}

/** In one order on every instance, so that two batches never wait for each other. */
function columnsOf(uses: Uses): { clientIds: string[]; odd: (Date | null)[]; even: (Date | null)[] } {
  const sorted = [...uses].sort(([one], [other]) => (one < other ? -1 : 1))
  return {
    clientIds: sorted.map(([clientId]) => clientId),
    odd: sorted.map(([, { oddAt }]) => instantOf(oddAt)),
    even: sorted.map(([, { evenAt }]) => instantOf(evenAt))
  }
}

function instantOf(at: number): Date | null {
  return at === 0 ? null : new Date(at)
}

type Ids = readonly string[]
type Instants = readonly (Date | null)[]

const moveOfUnchanged = statement((db, clientIds: Ids, odd: Instants, even: Instants, versions: readonly number[]) =>
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
        .onRef('registrations.client_id', '=', 'noted.client_id') // served by registrations_pkey
        .onRef('registrations.version', '=', 'noted.version')
    )
    .set(forward(sql`noted.odd_at`, sql`noted.even_at`))
    .whereRef('registration_last_used.client_id', '=', 'noted.client_id') // served by registration_last_used_pkey
    .returning('registration_last_used.client_id')
)

const move = statement((db, clientIds: Ids, odd: Instants, even: Instants) =>
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
        .innerJoin('registrations', 'registrations.client_id', 'noted.client_id') // served by registrations_pkey
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

/** Forward only: a late batch of another instance must not turn the clock back. `greatest` passes over nulls. */
function forward(odd: RawBuilder<Date>, even: RawBuilder<Date>) {
  return {
    last_used_at: sql<Date>`greatest(registration_last_used.last_used_at, ${odd}, ${even})`,
    odd_credential_used_at: sql<Date>`greatest(registration_last_used.odd_credential_used_at, ${odd})`,
    even_credential_used_at: sql<Date>`greatest(registration_last_used.even_credential_used_at, ${even})`
  }
}
