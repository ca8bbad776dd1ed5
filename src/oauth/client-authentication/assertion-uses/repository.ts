import { type Kysely, sql } from 'kysely'
import { arrayOf } from '../../../database/array.ts'
import type { Database } from '../../../database/schema.ts'
import { statement } from '../../../database/statement.ts'

/** The use of one assertion by its client. */
export interface AssertionUse {
  clientId: string
  /** 64 bits of a digest of client id and `jti`, as a signed integer in decimals. */
  digest: string
  /** When the assertion ends, milliseconds since the epoch. It depends on the assertion only. */
  end: number
}

/** The outcome for one client. A client whose registration does not exist has none. */
export interface RecordedUses {
  client_id: string
  /** Digests that were not known before. */
  added: string[]
  /** When the next of the client's digests may be dropped, if no more are kept. */
  full_until: Date | null
}

/** So many digests of assertions that have not ended are kept for a client. The check of the table repeats it. */
export const MAX_LIVE_USES = 1_024

/**
 * Records the use of assertions, in one statement: drops digests that ended by `dropUntil`, and adds those that are not
 * known, at most 1,024 in all. One digest that is given twice is added once.
 *
 * It is exact over all instances. Postgres locks the row of a client before it computes the new one from it, and every
 * instance locks in the order of client ids. An assertion whose digest was dropped is never added again: its end is not
 * after `dropped_until`, however far the clock of the instance that asks is behind.
 *
 * @param dropUntil milliseconds since the epoch
 */
export function recordAssertionUses(
  db: Kysely<Database>,
  uses: readonly AssertionUse[],
  dropUntil: number
): Promise<RecordedUses[]> {
  return record(
    db,
    dropUntil,
    arrayOf(uses.map(({ clientId }) => clientId)),
    arrayOf(uses.map(({ digest }) => digest)),
    arrayOf(uses.map(({ end }) => end))
  )
}

const MAX = sql.raw(String(MAX_LIVE_USES))

const record = statement((db, dropUntil: number, clientIds: string, digests: string, ends: string) => ({
  compile: () =>
    sql<RecordedUses>`
      with moment as (select to_timestamp(${dropUntil}::float8 / 1000)::timestamptz(3) as drop_until),
      presented as (
        select distinct on (client_id, digest)
          client_id, digest, to_timestamp(end_ms / 1000)::timestamptz(3) as ends_at, place
        from unnest(${clientIds}::text[], ${digests}::bigint[], ${ends}::float8[])
          with ordinality as given (client_id, digest, end_ms, place)
        order by client_id, digest, place
      )
      insert into assertion_uses as kept (client_id, digests, ends, added, dropped_until)
      select
        client_id,
        (array_agg(digest order by place))[:${MAX}],
        (array_agg(ends_at order by place))[:${MAX}],
        least(count(*), ${MAX}),
        drop_until
      from presented
        join registrations using (client_id) -- Index: registrations_pkey
        join moment on ends_at > drop_until
      group by client_id, drop_until
      order by client_id
      on conflict (client_id) do update set (digests, ends, added, dropped_until) = (
        select
          coalesce((array_agg(digest order by place))[:${MAX}], '{}'),
          coalesce((array_agg(ends_at order by place))[:${MAX}], '{}'),
          least(count(*), ${MAX}) - count(*) filter (where not is_new),
          greatest(kept.dropped_until, excluded.dropped_until)
        from (
          select digest, ends_at, place, false as is_new
          from unnest(kept.digests, kept.ends) with ordinality as live (digest, ends_at, place)
          where ends_at > excluded.dropped_until
          union all
          select digest, ends_at, ${MAX} + place, true
          from unnest(excluded.digests, excluded.ends) with ordinality as given (digest, ends_at, place)
          where ends_at > kept.dropped_until and not exists (
            select from unnest(kept.digests, kept.ends) as live (digest, ends_at)
            where live.digest = given.digest and live.ends_at > excluded.dropped_until
          )
        ) as entries
      )
      returning
        client_id,
        digests[cardinality(digests) - added + 1:]::text[] as added,
        case when cardinality(digests) = ${MAX} then (select min(ends_at) from unnest(ends) as ends_at) end as full_until
    `.compile(db)
}))
