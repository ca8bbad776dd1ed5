import { randomBytes } from 'node:crypto'
import fc from 'fast-check'
import t from 'tap'
import { type CursorKeys, positionAfter, readCursor, writeCursor } from '../../src/admin-api/cursor.ts'
import { caught } from '../fixtures/run/caught.ts'

const keys: CursorKeys = [randomBytes(32)]
const position = ['billing', 'k3v9x2m7q1w8z5t4r6y0']

t.test('a cursor reads back in its own listing only', async t => {
  const cursor = writeCursor(keys, 'acme', position)
  t.same(readCursor(keys, 'acme', cursor), position)
  t.equal(readCursor(keys, 'other', cursor), undefined)
  t.equal(readCursor([randomBytes(32)], 'acme', cursor), undefined)
})

t.test('a cursor of the previous key is still read, and new cursors are written with the current key', async t => {
  const both: CursorKeys = [randomBytes(32), keys[0]]
  t.same(readCursor(both, 'acme', writeCursor(keys, 'acme', position)), position)
  t.equal(readCursor(keys, 'acme', writeCursor(both, 'acme', position)), undefined)
})

t.test('a cursor with any character changed, added or removed is refused', async t => {
  const cursor = writeCursor(keys, 'acme', position)
  for (let index = 0; index <= cursor.length; index++) {
    for (const character of ['A', 'B', '_', '-', '=', ' ', '']) {
      const edit = cursor.slice(0, index) + character + cursor.slice(index + 1)
      if (edit !== cursor) t.equal(readCursor(keys, 'acme', edit), undefined, `${index} ${character}`)
    }
  }
})

t.test('no text makes reading a cursor throw', async () => {
  fc.assert(fc.property(fc.string({ unit: 'binary' }), text => readCursor(keys, 'acme', text) === undefined))
  fc.assert(fc.property(fc.base64String(), text => readCursor(keys, 'acme', text) === undefined))
})

// [INPUT-10]
t.test('every position reads back as it was written, and under no other key or listing', async () => {
  const value = fc.oneof(
    fc.string({ unit: 'binary' }).map(text => text.toWellFormed()),
    fc.boolean(),
    fc.constant(null)
  )
  const listing = fc.string()
  fc.assert(
    fc.property(value, fc.stringMatching(/^[a-z0-9]{20}$/), listing, listing, (sortValue, clientId, own, other) => {
      const cursor = writeCursor(keys, own, [sortValue, clientId])
      const read = readCursor<[unknown, string]>(keys, own, cursor)
      return (
        read?.[0] === sortValue &&
        read[1] === clientId &&
        (own === other || readCursor(keys, other, cursor) === undefined) &&
        readCursor([randomBytes(32)], own, cursor) === undefined
      )
    })
  )
})

t.test('without a cursor a listing starts at the beginning, and a cursor of another listing is refused', async t => {
  t.equal(positionAfter(keys, 'acme', undefined), undefined)
  t.same(positionAfter(keys, 'acme', writeCursor(keys, 'acme', position)), position)
  for (const cursor of ['', 'x', writeCursor(keys, 'other', position)]) {
    t.match(
      caught(() => positionAfter(keys, 'acme', cursor)),
      {
        status: 400,
        faults: [{ parameter: 'cursor', code: 'invalid_cursor', detail: 'is not a cursor of this listing' }]
      }
    )
  }
})
