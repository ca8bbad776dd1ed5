import { type Kysely, sql } from 'kysely'
import type { Database } from '../database/schema.ts'
import type { Uses } from './group-commit.ts'

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
