import t from 'tap'
import { BoundedMap } from '../../src/tokens/bounded-map.ts'

t.test('a full map forgets what was set longest ago, and holds no more than it has room for', async t => {
  const map = new BoundedMap<string, number>(3)
  for (const key of ['a', 'b', 'c']) map.set(key, 1)
  map.set('a', 2)
  map.set('d', 1)
  t.equal(map.get('b'), undefined)
  t.same([map.get('a'), map.get('c'), map.get('d'), map.size], [2, 1, 1, 3])
  map.delete('a')
  t.same([map.get('a'), map.size], [undefined, 2])
})
