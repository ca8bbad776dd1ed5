import type { Transaction } from 'kysely'
import type { Database } from '../../database/schema.ts'
import { SECOND_MS } from '../../time.ts'
import { OVERLAP_DEFAULT_SECONDS } from '../rotation/schemas.ts'
import { insertTicket } from './repository.ts'
import { CLAIM_DEFAULT_SECONDS, type ClaimInput, type ClaimTicket } from './schemas.ts'
import { createTicket, digestOfTicket } from './ticket.ts'

/**
 * Makes a ticket for a registration, whose row the transaction holds. It ends the open ticket before it.
 *
 * @param at milliseconds since the epoch
 */
export async function openTicket(
  trx: Transaction<Database>,
  clientId: string,
  at: number,
  { expiresInSeconds = CLAIM_DEFAULT_SECONDS, overlapSeconds = OVERLAP_DEFAULT_SECONDS }: ClaimInput = {}
): Promise<ClaimTicket> {
  const ticket = createTicket()
  const expiresAt = new Date(at + expiresInSeconds * SECOND_MS)
  await insertTicket(trx, {
    digest: digestOfTicket(ticket),
    client_id: clientId,
    overlap_seconds: overlapSeconds,
    created_at: new Date(at),
    expires_at: expiresAt
  })
  return { ticket, expiresAt: expiresAt.toISOString() }
}
