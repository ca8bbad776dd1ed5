import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { cachedCount } from '../../src/metrics/cached-count.ts'
import { Registry } from '../../src/metrics/registry.ts'

t.test('a count that takes long is kept a hundred times as long, so that scrapes cost 1 % at most', async t => {
  const registry = new Registry()
  let counts = 0
  const latest = cachedCount(
    registry,
    async () => {
      await sleep(50)
      return ++counts
    },
    0
  )
  for (let scrape = 0; scrape < 20; scrape++) await registry.read()
  t.equal(latest(), 1)
})

t.test('a quick count is refreshed when it is old', async t => {
  const registry = new Registry()
  let counts = 0
  const latest = cachedCount(registry, async () => ++counts, 0)
  await registry.read()
  const [first] = [latest()]
  while (latest() === first) await registry.read()
  t.equal(latest(), 2)
})

t.test('a count that fails is not repeated at once, and does not fail the scrape', async t => {
  const registry = new Registry()
  let counts = 0
  const latest = cachedCount(registry, async () => {
    counts++
    throw new Error('away')
  })
  for (let scrape = 0; scrape < 5; scrape++) await registry.read()
  t.equal(counts, 1)
  t.equal(latest(), undefined)
})
