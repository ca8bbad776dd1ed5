import { Type } from 'typebox'
import { nullable } from '../http/json-schema.ts'
import { type CursorKeys, positionAfter, writeCursor } from './cursor.ts'

/** One page of a listing. */
export interface Page<Row> {
  rows: Row[]
  /** `cursor` of the next page; null on the last page. */
  nextCursor: string | null
}

export interface PageRequest<Row, Position extends readonly unknown[]> {
  cursorKeys: CursorKeys
  /** Everything that must not change from page to page: the name of the listing, its Site, order and filters. */
  listing: readonly unknown[]
  query: { limit?: number; cursor?: string }
  /** Reads at most `limit` rows that come after this position, or the first ones without a position. */
  read: (limit: number, after: Position | undefined) => Promise<Row[]>
  /** Returns the position of a row, as JSON values. */
  position: (row: Row) => Position
}

export const DEFAULT_LIMIT = 50

/**
 * Reads one page of a listing, and where the next page begins.
 *
 * @throws Problem 400 for a cursor of another listing, or one that grantd did not write
 */
export async function readPage<Row, Position extends readonly unknown[]>({
  cursorKeys,
  listing,
  query: { limit = DEFAULT_LIMIT, cursor },
  read,
  position
}: PageRequest<Row, Position>): Promise<Page<Row>> {
  const name = JSON.stringify(listing)
  // One row more than the page has: it shows whether there is a next page.
  const found = await read(limit + 1, positionAfter<Position>(cursorKeys, name, cursor))
  const rows = found.slice(0, limit)
  const last = rows.at(-1)
  if (last === undefined || found.length <= limit) return { rows, nextCursor: null }
  return { rows, nextCursor: writeCursor(cursorKeys, name, position(last)) }
}

/** The query parameters of every listing. */
export const pageQuery = {
  limit: Type.Optional(
    Type.Integer({ minimum: 1, maximum: 200, default: DEFAULT_LIMIT, description: 'Maximum number of items in a page' })
  ),
  cursor: Type.Optional(
    Type.String({
      maxLength: 2_000,
      description: '`nextCursor` of the previous page. Every other parameter must be the same as for that page.'
    })
  )
}

/** The member of every page that leads to the next one. */
export const nextCursor = nullable(
  Type.String({ description: 'Value of `cursor` for the next page. It is null on the last page.', examples: [null] })
)
