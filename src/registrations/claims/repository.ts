import type { Kysely, Transaction } from 'kysely'
import type { ClaimTicketTable, Database } from '../../database/schema.ts'

/** Used tickets of a registration that are remembered, so that their holders learn that somebody was first. */
const MAX_USED_TICKETS = 10

/** A ticket that was presented. */
export interface FoundTicket {
  clientId: string
  siteId: string
  overlapSeconds: number
  usedAt: Date | null
}

/** Stores a ticket. It ends the open one before it, and the oldest used ones are forgotten. */
export async function insertTicket(
  trx: Transaction<Database>,
  ticket: Omit<ClaimTicketTable, 'used_at' | 'reused_at'>
): Promise<void> {
  await trx
    .deleteFrom('claim_tickets')
    .where('client_id', '=', ticket.client_id) // Index: claim_tickets_client_id
    .where(({ eb, or, selectFrom }) =>
      or([
        eb('used_at', 'is', null),
        eb(
          'digest',
          'in',
          selectFrom('claim_tickets as used')
            .select('used.digest')
            .where('used.client_id', '=', ticket.client_id) // Index: claim_tickets_client_id
            .where('used.used_at', 'is not', null)
            .orderBy('used.used_at', 'desc')
            .offset(MAX_USED_TICKETS)
        )
      ])
    )
    .execute()
  await trx
    .insertInto('claim_tickets')
    .values({ ...ticket, used_at: null, reused_at: null })
    .execute()
}

/** Ends the open ticket of a registration. Used ones stay. */
export async function endOpenTicket(trx: Transaction<Database>, clientId: string): Promise<void> {
  await trx
    .deleteFrom('claim_tickets')
    .where('client_id', '=', clientId) // Index: claim_tickets_client_id
    .where('used_at', 'is', null)
    .execute()
}

/** Finds a ticket that is open or was used. An unknown ticket and an ended one are the same to this statement. */
export function findTicket(db: Kysely<Database>, digest: Buffer, now: Date): Promise<FoundTicket | undefined> {
  return db
    .selectFrom('claim_tickets as ticket')
    .innerJoin('registrations', 'registrations.client_id', 'ticket.client_id') // Index: registrations_pkey
    .select([
      'ticket.client_id as clientId',
      'registrations.site_id as siteId',
      'ticket.overlap_seconds as overlapSeconds',
      'ticket.used_at as usedAt'
    ])
    .where('ticket.digest', '=', digest) // Index: claim_tickets_pkey
    .where(({ eb, or }) => or([eb('ticket.used_at', 'is not', null), eb('ticket.expires_at', '>', now)]))
    .executeTakeFirst()
}

/** Uses a ticket up. @returns false when it is not open any more */
export async function useTicket(trx: Transaction<Database>, digest: Buffer, at: Date): Promise<boolean> {
  const { numUpdatedRows } = await trx
    .updateTable('claim_tickets')
    .set({ used_at: at })
    .where('digest', '=', digest) // Index: claim_tickets_pkey
    .where('used_at', 'is', null)
    .where('expires_at', '>', at)
    .executeTakeFirstOrThrow()
  return numUpdatedRows > 0n
}

/** Notes that a used ticket was presented again. @returns false when it was noted before */
export async function noteReuse(trx: Transaction<Database>, digest: Buffer, at: Date): Promise<boolean> {
  const { numUpdatedRows } = await trx
    .updateTable('claim_tickets')
    .set({ reused_at: at })
    .where('digest', '=', digest) // Index: claim_tickets_pkey
    .where('used_at', 'is not', null)
    .where('reused_at', 'is', null)
    .executeTakeFirstOrThrow()
  return numUpdatedRows > 0n
}
