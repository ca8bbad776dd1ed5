import t from 'tap'
import { pairwiseRatio, percentile, slope, spread } from '../../bench/statistics.ts'

t.test('a percentile is the least value that this share of the values does not exceed', async t => {
  const sorted = Float64Array.from({ length: 100 }, (_, index) => index + 1)
  t.equal(percentile(sorted, 0.5), 50)
  t.equal(percentile(sorted, 0.99), 99)
  t.equal(percentile(sorted, 0.999), 100)
  t.equal(percentile(sorted, 0), 1)
  t.ok(Number.isNaN(percentile(new Float64Array(), 0.5)))
})

t.test('a spread is in numeric order, whatever the order of the rounds', async t => {
  t.same(spread([10, 9, 100]), { median: 10, min: 9, max: 100 })
  t.same(spread([4, 1]), { median: 2.5, min: 1, max: 4 })
})

t.test('a ratio compares the same round, so that a round that is slow for both changes nothing', async t => {
  t.same(pairwiseRatio([100, 50, 200], [50, 25, 100]), { median: 2, min: 2, max: 2 })
  t.same(pairwiseRatio([100, 30, 80], [50, 10, 80]), { median: 2, min: 1, max: 3 })
})

t.test('a slope is the gain for each step, whatever the start', async t => {
  t.equal(slope([1, 2, 3, 4].map(x => ({ x, y: 7 + 3 * x }))), 3)
  t.equal(slope([1, 2, 3].map(x => ({ x, y: 5 }))), 0)
})
