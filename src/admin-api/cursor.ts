import { createHmac, timingSafeEqual } from 'node:crypto'
import { invalidRequest } from './validation.ts'

/** Keys that sign cursors and nothing else, the same on every instance. The first one signs. All of them verify. */
export type CursorKeys = readonly [Buffer, ...Buffer[]]

const TAG_BYTES = 16

/**
 * Writes the position after which the next page begins. The signature binds it to one listing.
 *
 * @param listing everything that must not change from page to page
 * @param position values that identify the last row of a page
 */
export function writeCursor([key]: CursorKeys, listing: string, position: readonly unknown[]): string {
  const payload = Buffer.from(JSON.stringify(position))
  return Buffer.concat([tag(key, listing, payload), payload]).toString('base64url')
}

/** Reads a cursor. @returns undefined for a text that `writeCursor` did not write for this listing */
export function readCursor<Position extends readonly unknown[]>(
  keys: CursorKeys,
  listing: string,
  cursor: string
): Position | undefined {
  const bytes = Buffer.from(cursor, 'base64url')
  // Other spellings decode to the same bytes. Only one of them is accepted.
  if (bytes.length <= TAG_BYTES || bytes.toString('base64url') !== cursor) return undefined
  const payload = bytes.subarray(TAG_BYTES)
  const given = bytes.subarray(0, TAG_BYTES)
  if (!keys.some(key => timingSafeEqual(given, tag(key, listing, payload)))) return undefined
  return JSON.parse(payload.toString())
}

/**
 * Reads the `cursor` parameter of a listing. @returns undefined without a cursor
 *
 * @throws Problem 400 for a cursor of another listing, or one that grantd did not write
 */
export function positionAfter<Position extends readonly unknown[]>(
  keys: CursorKeys,
  listing: string,
  cursor: string | undefined
): Position | undefined {
  if (cursor === undefined) return undefined
  const position = readCursor<Position>(keys, listing, cursor)
  if (position !== undefined) return position
  throw invalidRequest([{ parameter: 'cursor', code: 'invalid_cursor', detail: 'is not a cursor of this listing' }])
}

function tag(key: Buffer, listing: string, payload: Buffer): Buffer {
  return createHmac('sha256', key).update(`${listing}\n`).update(payload).digest().subarray(0, TAG_BYTES)
}
