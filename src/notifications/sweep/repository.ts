import { type RawBuilder, sql, type Transaction } from 'kysely'
import { lockUntilCommit } from '../../database/advisory-lock.ts'
import type { Database, NoticeTable } from '../../database/schema.ts'
import type { StepWindow } from '../cadence.ts'
import { insertDeliveries } from '../repository.ts'

/** The last registration of a batch, in the order of registrations_expires_at. */
export interface SweepCursor {
  expiresAt: Date
  clientId: string
}

export interface SweepBatch {
  windows: readonly StepWindow[]
  now: Date
  /** Kinds of the receivers that the configuration names. */
  serviceKinds: readonly string[]
  /** Looks at expiries after and up to these instants, at most `limit` of them. */
  after: Date
  upTo: Date
  limit: number
  /** Continues after this registration. */
  cursor: SweepCursor | undefined
}

/**
 * Creates the notices that are due in a batch of registrations and have not fired, with their deliveries. Only one
 * instance does so at a time.
 *
 * @returns how many notices were created, and where to continue; undefined at the end of the range
 */
export async function createDueNotices(
  trx: Transaction<Database>,
  batch: SweepBatch
): Promise<{ created: number; next: SweepCursor | undefined }> {
  await lockUntilCommit(trx, 'notice sweep')
  const next = await findEnd(trx, batch)
  const noticeIds = await insertNotices(trx, batch, next)
  if (noticeIds.length > 0) await insertDeliveries(trx, noticeIds, batch)
  return { created: noticeIds.length, next }
}

/** Finds the last registration of a full batch. There may be more behind it. */
async function findEnd(trx: Transaction<Database>, batch: SweepBatch): Promise<SweepCursor | undefined> {
  return trx
    .selectFrom('registrations as r')
    .select(['r.expires_at as expiresAt', 'r.client_id as clientId'])
    .where(beginsAt(batch)) // Index: registrations_expires_at, and nothing else is read
    .where('r.expires_at', '<=', batch.upTo)
    .orderBy('r.expires_at')
    .orderBy('r.client_id')
    .offset(batch.limit - 1)
    .limit(1)
    .executeTakeFirst()
}

function beginsAt({ after, cursor }: SweepBatch): RawBuilder<boolean> {
  return cursor === undefined
    ? sql`r.expires_at > ${after}`
    : sql`(r.expires_at, r.client_id) > (${cursor.expiresAt}::timestamptz, ${cursor.clientId}::text)`
}

function endsAt({ upTo }: SweepBatch, end: SweepCursor | undefined): RawBuilder<boolean> {
  return end === undefined
    ? sql`r.expires_at <= ${upTo}`
    : sql`(r.expires_at, r.client_id) <= (${end.expiresAt}::timestamptz, ${end.clientId}::text)`
}

async function insertNotices(
  trx: Transaction<Database>,
  batch: SweepBatch,
  end: SweepCursor | undefined
): Promise<string[]> {
  const { windows, now } = batch
  const steps = windows.map(({ step }) => step)
  const from = windows.map(({ after }) => new Date(after))
  const to = windows.map(({ upTo }) => new Date(upTo))
  const rows = await trx
    .insertInto('notices')
    .columns(['id', 'site_id', 'client_id', 'name', 'enabled', 'expires_at', 'step', 'fired_at'])
    .expression(
      // Indexes: registrations_expires_at and notices_once
      sql<NoticeTable>`
        select gen_random_uuid(), r.site_id, r.client_id, r.name, r.enabled, r.expires_at, due.step, ${now}::timestamptz
        from registrations r
        join unnest(${steps}::integer[], ${from}::timestamptz[], ${to}::timestamptz[]) as due (step, after, up_to)
          on r.expires_at > due.after and r.expires_at <= due.up_to
        where ${beginsAt(batch)} and ${endsAt(batch, end)}
          and r.expiry_set_at < r.expires_at - due.step * interval '24 hours'
          and not exists (
            select from notices n
            where n.expires_at = r.expires_at and n.client_id = r.client_id and n.step <= due.step
          )
        -- A registration that is being renewed or deleted is left to the next sweep, which sees the result.
        for share of r skip locked`
    )
    .onConflict(conflict => conflict.constraint('notices_once').doNothing())
    .returning('id')
    .execute()
  return rows.map(({ id }) => id)
}

/**
 * Deletes notices that fired before this instant, with their deliveries, up to a limit. A notice of the cadence stays
 * until its expiry is before this instant too.
 *
 * A notice of a registration that still has this expiry is kept, however old: it is why the step does not fire again.
 * An expiry in the past cannot be set and a Client ID is never reused, so no deleted notice can fire again.
 *
 * @returns how many were deleted; 0 while another instance deletes
 */
export async function deleteOldNotices(trx: Transaction<Database>, before: Date, limit: number): Promise<number> {
  // Two instances that delete the same rows in a different order could deadlock.
  const { rows } = await sql<{ isOurs: boolean }>`
    select pg_try_advisory_xact_lock(hashtextextended('notice retention', 0)) as "isOurs"`.execute(trx)
  if (rows[0]?.isOurs !== true) return 0
  const ofCadence = trx
    .selectFrom('notices as n')
    .select('n.id')
    .where('n.type', '=', 'expiry')
    .where('n.expires_at', '<', before) // Index: notices_once
    .where('n.fired_at', '<', before)
    .where(({ not, exists, selectFrom }) =>
      not(
        exists(
          selectFrom('registrations as r')
            .select('r.client_id')
            .whereRef('r.client_id', '=', 'n.client_id') // Index: registrations_pkey
            .whereRef('r.expires_at', '=', 'n.expires_at')
        )
      )
    )
    .orderBy('n.expires_at')
    .limit(limit)
  const others = trx
    .selectFrom('notices as n')
    .select('n.id')
    .where('n.type', '!=', 'expiry')
    .where('n.fired_at', '<', before) // Index: notices_fired_at
    .limit(limit)
  const { numDeletedRows } = await trx
    .deleteFrom('notices')
    .where('id', 'in', eb =>
      eb
        .selectFrom(ofCadence.as('of_cadence'))
        .select('of_cadence.id')
        .unionAll(eb.selectFrom(others.as('others')).select('others.id'))
        .limit(limit)
    )
    .executeTakeFirstOrThrow()
  return Number(numDeletedRows)
}
