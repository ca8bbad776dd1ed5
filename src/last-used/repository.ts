import { type Kysely, sql } from 'kysely'
import type { Database } from '../database/schema.ts'
import { statement } from '../database/statement.ts'
import type { Uses } from './group-commit.ts'

/**
 * Moves Last used of those clients whose registration has the version at the same place of the list, and which have
 * been used before.
 *
 * @param clientIds in ascending order, so that two batches never wait for each other
 * @returns those it moved
 */
export const moveLastUsedOfUnchanged = statement(
  (db, clientIds: readonly string[], versions: readonly number[], instants: readonly Date[]) =>
    db
      .updateTable('registration_last_used as used')
      .from(
        sql<{
          client_id: string
          version: number
          at: Date
        }>`unnest(${clientIds}::text[], ${versions}::integer[], ${instants}::timestamptz[])`.as<'asked'>(
          sql`asked(client_id, version, at)`
        )
      )
      .innerJoin('registrations', join =>
        join
          .onRef('registrations.client_id', '=', 'asked.client_id') // served by registrations_pkey
          .onRef('registrations.version', '=', 'asked.version')
      )
      // Forward only: a late batch of another instance must not turn the clock back.
      .set({ last_used_at: sql`greatest(used.last_used_at, asked.at)` })
      .whereRef('used.client_id', '=', 'asked.client_id') // served by registration_last_used_pkey
      .returning('used.client_id')
)

/** Moves Last used forward for each of these clients, in one statement. Clients deleted meanwhile are left out. */
export async function moveLastUsed(db: Kysely<Database>, uses: Uses): Promise<void> {
  // In one order on every instance, so that two batches never wait for each other.
  const clientIds = [...uses.keys()].sort()
  const instants = clientIds.map(clientId => new Date(uses.get(clientId) ?? 0))
  await db
    .insertInto('registration_last_used')
    .columns(['client_id', 'last_used_at'])
    .expression(
      db
        .selectFrom(
          sql<{ client_id: string; at: Date }>`unnest(${clientIds}::text[], ${instants}::timestamptz[])`.as<'noted'>(
            sql`noted(client_id, at)`
          )
        )
        .innerJoin('registrations', 'registrations.client_id', 'noted.client_id') // served by registrations_pkey
        .select(['noted.client_id', 'noted.at'])
        .orderBy('noted.client_id')
    )
    .onConflict(conflict =>
      conflict
        .column('client_id')
        .doUpdateSet(eb => ({ last_used_at: eb.ref('excluded.last_used_at') }))
        // Forward only: a late batch of another instance must not turn the clock back.
        .whereRef('registration_last_used.last_used_at', '<', 'excluded.last_used_at')
    )
    .execute()
}
