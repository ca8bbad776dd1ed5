import { type Kysely, sql, type Transaction } from 'kysely'
import type { Database } from '../../database/schema.ts'
import type { Gap } from './quiet.ts'

/** Begins a round. @returns when the round before it began; undefined for the first one. `false` when none is due yet */
export async function beginRound(db: Kysely<Database>, now: Date, notAfter: Date): Promise<Date | undefined | false> {
  return db.transaction().execute(async trx => {
    await trx
      .insertInto('unused_rounds')
      .values({ began_at: sql`'-infinity'` })
      .onConflict(conflict => conflict.doNothing())
      .execute()
    const { began_at, is_first } = await trx
      .selectFrom('unused_rounds')
      .select(['began_at', sql<boolean>`began_at = '-infinity'`.as('is_first')])
      .forUpdate()
      .executeTakeFirstOrThrow()
    if (!is_first && began_at > notAfter) return false
    await trx.updateTable('unused_rounds').set({ began_at: now }).execute()
    return is_first ? undefined : began_at
  })
}

/** Notes that there was no round in this time. */
export async function insertGap(db: Kysely<Database>, beganAt: Date, endedAt: Date): Promise<void> {
  await db
    .insertInto('unused_round_gaps')
    .values({ began_at: beganAt, ended_at: endedAt })
    .onConflict(conflict => conflict.doNothing())
    .execute()
}

export async function listGaps(db: Kysely<Database>): Promise<Gap[]> {
  const rows = await db.selectFrom('unused_round_gaps').selectAll().execute()
  return rows.map(({ began_at, ended_at }) => ({ beganAt: began_at.getTime(), endedAt: ended_at.getTime() }))
}

export interface Candidate {
  client_id: string
  site_id: string
}

/** Returns the client id that ends the next batch of registrations. Undefined when fewer are left. */
export async function findEndOfBatch(db: Kysely<Database>, after: string, size: number): Promise<string | undefined> {
  const last = await db
    .selectFrom('registrations') // Index: registrations_pkey
    .select('client_id')
    .where('client_id', '>', after)
    .orderBy('client_id')
    .offset(size - 1)
    .limit(1)
    .executeTakeFirst()
  return last?.client_id
}

/** Lists registrations of a batch that may be due. @param options.upTo last client id of the batch; undefined for no limit */
export function listCandidates(
  db: Kysely<Database>,
  options: { now: Date; quietSince: Date; disablesSince: Date; after: string; upTo: string | undefined }
): Promise<Candidate[]> {
  const { after, upTo } = options
  const since = sql<Date>`greatest(u.last_used_at, r.registered_at, r.enabled_at)`
  return (
    db
      .selectFrom('registrations as r') // Index: registrations_pkey
      .innerJoin('registration_last_used as u', 'u.client_id', 'r.client_id') // Index: registration_last_used_pkey
      .select(['r.client_id', 'r.site_id'])
      // Of both tables: Postgres does not conclude the one from the other.
      .where('r.client_id', '>', after)
      .where('u.client_id', '>', after)
      .$if(upTo !== undefined, batch =>
        batch.where('r.client_id', '<=', String(upTo)).where('u.client_id', '<=', String(upTo))
      )
      .where('r.enabled', '=', true)
      .where('r.may_idle', '=', false)
      .where('r.may_introspect', '=', false)
      .where('r.expires_at', '>', options.now)
      .where(since, '<=', options.quietSince)
      .where(eb =>
        eb.or([
          eb('r.unused_noticed_at', 'is', null),
          eb('r.unused_noticed_at', '<', since),
          eb(since, '<=', options.disablesSince)
        ])
      )
      .orderBy('r.client_id')
      .execute()
  )
}

/** Notes that a notice was recorded. It is no change by an administrator: the version stays. */
export async function setUnusedNoticed(trx: Transaction<Database>, clientId: string, at: Date): Promise<void> {
  await trx
    .updateTable('registrations')
    .set({ unused_noticed_at: at })
    .where('client_id', '=', clientId) // Index: registrations_pkey
    .execute()
}
