import { sql } from 'kysely'
import { statement } from '../../database/statement.ts'
import type { Standing } from './standing.ts'

/** Finds the standing of these clients. One that is not registered has none. */
export const findStandings = statement((db, clientIds: readonly string[]) =>
  db
    .selectFrom(sql<{ client_id: string }>`unnest(${clientIds}::text[])`.as<'wanted'>(sql`wanted(client_id)`))
    .innerJoin('registrations', 'registrations.client_id', 'wanted.client_id') // Index: registrations_pkey
    .select([
      'registrations.client_id',
      'registrations.version',
      'registrations.enabled',
      'registrations.expires_at',
      'registrations.tokens_valid_from',
      sql<string[]>`array(
        select jti::text from token_revocations -- Index: token_revocations_pkey
        where token_revocations.client_id = registrations.client_id
      )`.as('revoked'),
      // After the snapshot of the statement was taken: a revocation that it no longer has, has ended by then.
      sql<Date>`clock_timestamp()`.as('read_at')
    ])
    .$castTo<Standing>()
)
