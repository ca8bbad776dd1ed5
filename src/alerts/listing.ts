import type { Kysely } from 'kysely'
import type { Database } from '../database/schema.ts'
import { invalidRequest } from '../http/validation.ts'
import { readCursor, writeCursor } from '../registrations/cursor.ts'
import { DAY_MS } from '../registrations/lifecycle.ts'
import { DEFAULT_LIMIT } from '../registrations/schemas.ts'
import { type Expired, listExpired } from './repository.ts'
import type { AlertBody, AlertQueryInput } from './schemas.ts'

/**
 * Reads one page of what has expired by now, and where the next begins. Nothing is stored: what is renewed or deleted
 * is gone from the next read.
 *
 * @param siteId undefined for all Sites
 * @param now milliseconds since the epoch
 * @throws Problem 400 for a cursor of another listing, or one that nobody made
 */
export async function readAlertPage(
  { db, cursorKey }: { db: Kysely<Database>; cursorKey: Buffer },
  siteId: string | undefined,
  { limit = DEFAULT_LIMIT, cursor }: AlertQueryInput,
  now: number
): Promise<{ rows: Expired[]; nextCursor: string | null }> {
  const listing = JSON.stringify(['alerts', siteId])
  const rows = await listExpired(db, {
    siteId,
    now: new Date(now),
    limit: limit + 1,
    after: cursor === undefined ? undefined : positionOf(cursorKey, listing, cursor)
  })
  const page = rows.slice(0, limit)
  const last = page.at(-1)
  if (last === undefined || rows.length <= limit) return { rows: page, nextCursor: null }
  const position = { value: last.expires_at.toISOString(), clientId: last.client_id }
  return { rows: page, nextCursor: writeCursor(cursorKey, listing, position) }
}

export function representAlert(row: Expired, now: number): AlertBody {
  return {
    clientId: row.client_id,
    name: row.name,
    expiresAt: row.expires_at.toISOString(),
    enabled: row.enabled,
    expiredDays: Math.floor((now - row.expires_at.getTime()) / DAY_MS)
  }
}

function positionOf(cursorKey: Buffer, listing: string, cursor: string): { expiresAt: string; clientId: string } {
  const position = readCursor(cursorKey, listing, cursor)
  if (position !== undefined) return { expiresAt: String(position.value), clientId: position.clientId }
  throw invalidRequest([{ parameter: 'cursor', code: 'invalid_cursor', detail: 'is not a cursor of this listing' }])
}
