import { type Kysely, type RawBuilder, type Selectable, sql } from 'kysely'
import type { Site } from '../../admin-api/site.ts'
import type { Database, RegistrationRefusalsTable } from '../../database/schema.ts'
import type { Refusal, Refusals, Slot } from './refusal.ts'

/** The names of the columns of a slot begin with this. */
const PREFIX = { withCredential: 'with_credential', withoutCredential: 'without_credential' } as const

/** Finds the latest refusals of a registration of this Site. */
export async function findRefusals({ db }: Site, clientId: string): Promise<Refusals> {
  const row = await db
    .selectFrom('registration_refusals')
    .selectAll()
    .where('client_id', '=', clientId) // Index: registration_refusals_pkey
    .executeTakeFirst()
  if (row === undefined) return {}
  return {
    withCredential: refusalIn(row, PREFIX.withCredential),
    withoutCredential: refusalIn(row, PREFIX.withoutCredential)
  }
}

function refusalIn(row: Selectable<RegistrationRefusalsTable>, prefix: (typeof PREFIX)[Slot]): Refusal | undefined {
  const [at, reason, source] = [row[`${prefix}_at`], row[`${prefix}_reason`], row[`${prefix}_source`]]
  if (at === null || reason === null || source === null) return undefined
  return { at: at.getTime(), reason, source, count: Number(row[`${prefix}_count`]) }
}

/**
 * Records refusals of these clients, in one statement. The counts are added to those of other instances, and the latest
 * refusal stays. Clients that do not exist, or are being deleted, are left out.
 */
export async function recordRefusals(db: Kysely<Database>, refusals: ReadonlyMap<string, Refusals>): Promise<void> {
  const rows = [...refusals].map(([clientId, { withCredential, withoutCredential }]) => ({
    client_id: clientId,
    ...columnsOf(PREFIX.withCredential, withCredential),
    ...columnsOf(PREFIX.withoutCredential, withoutCredential)
  }))
  await db
    .insertInto('registration_refusals')
    .columns(COLUMNS)
    .expression(
      db
        .selectFrom(
          sql<RegistrationRefusalsTable>`jsonb_to_recordset(${JSON.stringify(rows)}::jsonb)`.as<'noted'>(
            sql`noted(client_id text, ${slotTypes(PREFIX.withCredential)}, ${slotTypes(PREFIX.withoutCredential)})`
          )
        )
        .innerJoin('registrations', 'registrations.client_id', 'noted.client_id') // Index: registrations_pkey
        .select(COLUMNS.map(column => `noted.${column}` as const))
        // In one order on every instance, so that two of them do not wait for each other.
        .orderBy('noted.client_id')
        .forKeyShare('registrations')
        .skipLocked()
    )
    .onConflict(conflict =>
      conflict.column('client_id').doUpdateSet({ ...later(PREFIX.withCredential), ...later(PREFIX.withoutCredential) })
    )
    .execute()
}

const COLUMNS = [
  'client_id',
  ...['with_credential_at', 'with_credential_reason', 'with_credential_source', 'with_credential_count'],
  ...['without_credential_at', 'without_credential_reason', 'without_credential_source', 'without_credential_count']
] as const

function slotTypes(prefix: (typeof PREFIX)[Slot]): RawBuilder<unknown> {
  return sql.raw(`${prefix}_at timestamptz, ${prefix}_reason text, ${prefix}_source text, ${prefix}_count bigint`)
}

function columnsOf(prefix: (typeof PREFIX)[Slot], refusal: Refusal | undefined): object {
  return {
    [`${prefix}_at`]: refusal === undefined ? null : new Date(refusal.at).toISOString(),
    [`${prefix}_reason`]: refusal?.reason ?? null,
    [`${prefix}_source`]: refusal?.source ?? null,
    [`${prefix}_count`]: refusal?.count ?? 0
  }
}

/** The slot as it becomes. A comparison with null is not true. */
function later(prefix: (typeof PREFIX)[Slot]): Record<string, RawBuilder<unknown>> {
  const kept = (column: string) => sql.ref(`registration_refusals.${prefix}_${column}`)
  const added = (column: string) => sql.ref(`excluded.${prefix}_${column}`)
  const isLater = sql`${added('at')} >= coalesce(${kept('at')}, '-infinity')`
  const latest = (column: string) => sql`case when ${isLater} then ${added(column)} else ${kept(column)} end`
  return {
    [`${prefix}_at`]: latest('at'),
    [`${prefix}_reason`]: latest('reason'),
    [`${prefix}_source`]: latest('source'),
    [`${prefix}_count`]: sql`${kept('count')} + ${added('count')}`
  }
}

/**
 * Clears the slots whose latest refusal is older, at most `limit` of each kind.
 *
 * @param cutoff milliseconds since the epoch
 * @returns whether there may be more
 */
export async function clearOldRefusals(db: Kysely<Database>, cutoff: number, limit: number): Promise<boolean> {
  const cleared = [
    await clearSlots(db, PREFIX.withCredential, cutoff, limit),
    await clearSlots(db, PREFIX.withoutCredential, cutoff, limit)
  ]
  return cleared.includes(limit)
}

async function clearSlots(
  db: Kysely<Database>,
  prefix: (typeof PREFIX)[Slot],
  cutoff: number,
  limit: number
): Promise<number> {
  const { numUpdatedRows } = await db
    .updateTable('registration_refusals')
    .set(columnsOf(prefix, undefined))
    .where('client_id', 'in', eb =>
      eb
        .selectFrom('registration_refusals')
        .select('client_id')
        // Index: registration_refusals_with_credential_at, registration_refusals_without_credential_at
        .where(`${prefix}_at`, '<', new Date(cutoff))
        .limit(limit)
        // Another instance is clearing the locked ones.
        .forUpdate()
        .skipLocked()
    )
    .executeTakeFirstOrThrow()
  return Number(numUpdatedRows)
}
