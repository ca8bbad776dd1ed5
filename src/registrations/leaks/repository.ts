import { type Kysely, sql, type Transaction } from 'kysely'
import type { Database } from '../../database/schema.ts'
import type { DISABLED_REASONS } from '../lifecycle.ts'
import { type Registration, registrations } from '../repository.ts'

const LEAKED: (typeof DISABLED_REASONS)[number] = 'leaked'

/** A secret of a registration that has one of the digests that were looked for. */
export interface FoundSecret {
  /** Place of the digest in the list, from 0. */
  place: number
  client_id: string
  site_id: string
  credential: 'current' | 'previous'
  mac: Buffer
  mac_key_id: string
  /** It tells one secret of a registration from the next. */
  created_at: Date
}

/** Finds secrets by their digests, all in one statement. The caller must verify each by its MAC. */
export async function findByDigests(db: Kysely<Database>, digests: readonly Buffer[]): Promise<FoundSecret[]> {
  const texts = digests.map(digest => digest.toString('hex'))
  const { rows } = await sql<FoundSecret>`
    with wanted as (
      select decode(digest, 'hex') as digest, (place - 1)::integer as place
      from unnest(${texts}::text[]) with ordinality as given (digest, place)
    )
    select place, client_id, site_id, 'current' as credential,
      secret_mac as mac, secret_mac_key_id as mac_key_id, secret_created_at as created_at
    from wanted join registrations r on r.secret_digest = wanted.digest -- Index: registrations_secret_digest
    where r.secret_mac is not null
    union all
    select place, client_id, site_id, 'previous',
      previous_secret_mac, previous_secret_mac_key_id, previous_secret_created_at
    from wanted join registrations r on r.previous_secret_digest = wanted.digest -- Index: registrations_previous_secret_digest
    where r.previous_secret_mac is not null`.execute(db)
  return rows
}

/** Finds the registrations of these clients, in all Sites. */
export function findRegistrations(db: Kysely<Database>, clientIds: readonly string[]): Promise<Registration[]> {
  return registrations(db)
    .where('registrations.client_id', '=', sql<string>`any(${clientIds}::text[])`) // Index: registrations_pkey
    .execute()
}

/** Disables a registration whose secret has leaked, in the transaction that has replaced the secret. */
export async function disableLeaked(trx: Transaction<Database>, clientId: string): Promise<void> {
  await trx
    .updateTable('registrations')
    .set({ enabled: false, disabled_reason: LEAKED, unclaimed: true })
    .where('client_id', '=', clientId) // Index: registrations_pkey
    .execute()
}
