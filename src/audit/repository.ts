import { type Kysely, sql, type Transaction } from 'kysely'
import { lockUntilCommit } from '../database/advisory-lock.ts'
import type { AuditChainTable, AuditEventTable, Database } from '../database/schema.ts'
import type { Link } from './chain.ts'

export interface EventListing {
  /** Undefined for all Sites. */
  siteId: string | undefined
  subject: string | undefined
  actor: string | undefined
  action: string | undefined
  /** At or after `from` and before `to`, in milliseconds since the epoch. */
  from: number | undefined
  to: number | undefined
  limit: number
  /** Continue with events that are older than this one. */
  after: { occurredAt: string; siteId: string; sequence: number } | undefined
}

/** Finds the newest event of a Site. Other writers of its chain wait until the transaction ends. */
export async function lockNewest(trx: Transaction<Database>, siteId: string): Promise<Link | undefined> {
  await lockUntilCommit(trx, `audit events of ${siteId}`)
  return trx
    .selectFrom('audit_chains')
    .select(['sequence', 'hash'])
    .where('site_id', '=', siteId) // Index: audit_chains_pkey
    .executeTakeFirst()
}

/** Inserts an event. A trigger moves the end of its chain. */
export async function insertEvent(trx: Transaction<Database>, event: AuditEventTable): Promise<void> {
  await trx.insertInto('audit_events').values(event).execute()
}

/** Lists a page of events, the newest first. */
export function listEvents(db: Kysely<Database>, listing: EventListing): Promise<AuditEventTable[]> {
  const { siteId, subject, actor, action, from, to, limit, after } = listing
  // Indexes of one Site: audit_events_site_id_occurred_at, _site_id_actor, _site_id_action. Over all Sites:
  // audit_events_occurred_at, _actor, _action. For a subject: audit_events_subject.
  let query = db
    .selectFrom('audit_events')
    .select(EVENT_COLUMNS)
    .orderBy('occurred_at', 'desc')
    .orderBy('site_id', 'desc')
    .orderBy('sequence', 'desc')
    .limit(limit)
  if (siteId !== undefined) query = query.where('site_id', '=', siteId)
  if (subject !== undefined) query = query.where('subject', '=', subject)
  if (actor !== undefined) query = query.where('actor', '=', actor)
  if (action !== undefined) query = query.where('action', '=', action)
  if (from !== undefined) query = query.where('occurred_at', '>=', new Date(from))
  if (to !== undefined) query = query.where('occurred_at', '<', new Date(to))
  if (after !== undefined) {
    const { occurredAt, sequence } = after
    query = query.where(
      siteId === undefined
        ? sql<boolean>`(occurred_at, site_id, sequence) < (${occurredAt}::timestamptz, ${after.siteId}, ${sequence})`
        : sql<boolean>`(occurred_at, sequence) < (${occurredAt}::timestamptz, ${sequence})`
    )
  }
  return query.execute()
}

/** Lists events of one Site with a higher sequence, the oldest first. */
export function listChain(
  db: Kysely<Database>,
  siteId: string,
  beyond: number,
  limit: number
): Promise<AuditEventTable[]> {
  return db
    .selectFrom('audit_events')
    .select(EVENT_COLUMNS)
    .where('site_id', '=', siteId) // Index: audit_events_pkey
    .where('sequence', '>', beyond)
    .orderBy('sequence')
    .limit(limit)
    .execute()
}

/** Finds the beginning and the end of a Site's chain. */
export function findChain(db: Kysely<Database>, siteId: string): Promise<AuditChainTable | undefined> {
  return db
    .selectFrom('audit_chains')
    .select(['site_id', 'sequence', 'hash', 'pruned_sequence', 'pruned_hash'])
    .where('site_id', '=', siteId) // Index: audit_chains_pkey
    .executeTakeFirst()
}

/** Finds the next Site that has or had events, in the order of their ids. */
export async function findNextSite(db: Kysely<Database>, after: string): Promise<string | undefined> {
  const { site_id } = await db
    .selectFrom(
      db
        .selectFrom('audit_chains')
        .select(eb => eb.fn.min('site_id').as('site_id'))
        .where('site_id', '>', after) // Index: audit_chains_pkey
        .unionAll(
          db
            .selectFrom('audit_events')
            .select(eb => eb.fn.min('site_id').as('site_id'))
            .where('site_id', '>', after) // Index: audit_events_pkey
        )
        .as('next')
    )
    .select(eb => eb.fn.min<string | null>('site_id').as('site_id'))
    .executeTakeFirstOrThrow()
  return site_id ?? undefined
}

/**
 * Deletes the oldest events of one Site that are older than the retention, at most `limit` of them.
 *
 * @returns how many. 0 means that no Site has such events
 */
export async function pruneEvents(db: Kysely<Database>, retentionDays: number, limit: number): Promise<number> {
  const { rows } = await sql<{ deleted: number }>`
    select prune_audit_events(${retentionDays}::integer, ${limit}::integer) as deleted
  `.execute(db)
  return rows[0]?.deleted ?? 0
}

const EVENT_COLUMNS = [
  'site_id',
  'sequence',
  'occurred_at',
  'action',
  'subject',
  'actor',
  'actor_issuer',
  'request_id',
  'source',
  'changes',
  'previous_hash',
  'hash'
] as const
