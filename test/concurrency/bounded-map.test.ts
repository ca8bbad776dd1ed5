import fc from 'fast-check'
import t from 'tap'
import { BoundedMap } from '../../src/concurrency/bounded-map.ts'

t.test('the entries set or read last are kept, and the map never exceeds its capacity', async () => {
  const keys = fc.array(fc.tuple(fc.integer({ min: 0, max: 30 }), fc.boolean()), { maxLength: 200 })
  fc.assert(
    fc.property(fc.integer({ min: 2, max: 12 }), keys, (capacity, uses) => {
      const map = new BoundedMap<number, number>(capacity)
      const latest = new Map<number, number>()
      for (const [index, [key, isRead]] of uses.entries()) {
        if (isRead && map.get(key) === undefined) continue
        if (!isRead) map.set(key, index)
        const value = isRead ? (latest.get(key) ?? -1) : index
        latest.delete(key)
        latest.set(key, value)
        if (map.size > capacity) return false
      }
      const kept = [...latest].slice(-Math.max(1, Math.ceil(capacity / 2) - 1))
      return kept.every(([key, value]) => map.get(key) === value)
    })
  )
})

t.test('a deleted entry is gone', async t => {
  const map = new BoundedMap<string, number>(4)
  for (const key of ['a', 'b', 'c']) map.set(key, 1)
  map.delete('a')
  map.delete('c')
  t.same([map.get('a'), map.get('b'), map.get('c'), map.size], [undefined, 1, undefined, 1])
})

t.test('reading an entry keeps it as long as setting it does', async t => {
  const map = new BoundedMap<string, number>(6)
  map.set('got', 1)
  for (const key of ['a', 'b']) map.set(key, 2)
  t.equal(map.size, 3)
  map.get('got')
  for (const key of ['c', 'd']) map.set(key, 3)
  t.equal(map.size, 3, 'a and b made way')
  t.equal(map.get('got'), 1)
  t.equal(map.get('a'), undefined)
})
