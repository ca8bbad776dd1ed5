import { setImmediate as nextTurn } from 'node:timers/promises'
import t from 'tap'
import { Batcher, BatcherFull, type BatcherOptions, BatchOverdue } from '../../src/concurrency/batcher.ts'

/** A batcher whose batches end when the test says so. The result of a key is its item. */
function startBatcher(options: Omit<BatcherOptions<number, number>, 'process'> = {}) {
  const batches: (readonly [string, number])[][] = []
  const ends: PromiseWithResolvers<void>[] = []
  const batcher = new Batcher<number, number>({
    ...options,
    process: async batch => {
      const end = Promise.withResolvers<void>()
      batches.push([...batch])
      ends.push(end)
      await end.promise
      return key => batch.get(key) ?? -1
    }
  })
  return { batcher, batches, ends }
}

t.test('items of one turn of the event loop are one batch, and items with one key are one item', async t => {
  const { batcher, batches, ends } = startBatcher({ merge: Math.max })
  const results = [batcher.add('a', 1), batcher.add('b', 5), batcher.add('a', 3), batcher.add('a', 2)]
  await nextTurn()
  t.same(batches, [
    [
      ['a', 3],
      ['b', 5]
    ]
  ])
  t.equal(batcher.waiting, 2)
  ends[0]?.resolve()
  t.same(await Promise.all(results), [3, 5, 3, 3])
  await nextTurn()
  t.equal(batcher.waiting, 0)
})

t.test('without a rule for merging, the first item stands for all of its key', async t => {
  const { batcher, ends } = startBatcher()
  const results = [batcher.add('a', 1), batcher.add('a', 2)]
  await nextTurn()
  ends[0]?.resolve()
  t.same(await Promise.all(results), [1, 1])
})

t.test('while as many batches are processed as may be, the next one gathers', async t => {
  const { batcher, batches, ends } = startBatcher({ maxConcurrent: 2 })
  const results = []
  for (const [index, key] of ['a', 'b', 'c', 'd'].entries()) {
    results.push(batcher.add(key, index))
    await nextTurn()
    await nextTurn()
  }
  t.equal(batches.length, 2)
  ends[1]?.resolve()
  t.equal(await results[1], 1)
  await nextTurn()
  await nextTurn()
  t.same(batches[2], [
    ['c', 2],
    ['d', 3]
  ])
  ends[0]?.resolve()
  ends[2]?.resolve()
  t.same(await Promise.all(results), [0, 1, 2, 3])
})

t.test('a batch gathers until the one before it has its lead or has ended', async t => {
  const { batcher, batches, ends } = startBatcher({ maxConcurrent: 2, leadMs: 60_000 })
  const results = [batcher.add('a', 1)]
  await nextTurn()
  results.push(batcher.add('b', 2), batcher.add('c', 3))
  await nextTurn()
  await nextTurn()
  t.same(batches, [[['a', 1]]])
  ends[0]?.resolve()
  t.equal(await results[0], 1)
  await nextTurn()
  t.same(batches[1], [
    ['b', 2],
    ['c', 3]
  ])
  ends[1]?.resolve()
  t.same(await Promise.all(results), [1, 2, 3])
})

t.test('an item that comes after the lead starts a batch beside the one that is still processed', async t => {
  const leadMs = 2
  const { batcher, batches, ends } = startBatcher({ maxConcurrent: 2, leadMs })
  const results = [batcher.add('a', 1)]
  await nextTurn()
  const sentBefore = performance.now()
  while (performance.now() - sentBefore < leadMs) {}
  results.push(batcher.add('b', 2))
  await nextTurn()
  t.same(batches, [[['a', 1]], [['b', 2]]])
  for (const end of ends) end.resolve()
  t.same(await Promise.all(results), [1, 2])
})

t.test('the results of a batch are given in the order in which its items were added', async t => {
  const order: string[] = []
  const batcher = new Batcher<boolean, boolean>({
    process: async batch => key => batch.get(key) === true
  })
  const items = Array.from({ length: 50 }, (_, index) => `k${index}`)
  await Promise.all(items.map((key, index) => batcher.add(key, index % 2 === 0).then(() => order.push(key))))
  t.same(order, items)
})

t.test('a batch that fails rejects all of its items and none of the next', async t => {
  let isFailing = true
  const batcher = new Batcher<number, string>({
    process: async () => {
      if (isFailing) throw new Error('failed')
      return () => 'done'
    }
  })
  const failed = [batcher.add('a', 1), batcher.add('b', 1)]
  for (const each of failed) await t.rejects(each, { message: 'failed' })
  isFailing = false
  t.equal(await batcher.add('a', 1), 'done')
  t.equal(batcher.waiting, 0)
})

t.test('an item beyond the limit is rejected at once; one of a key that waits joins it', async t => {
  const { batcher, ends } = startBatcher({ maxWaiting: 1 })
  const waiting = [batcher.add('a', 1), batcher.add('a', 2)]
  await t.rejects(batcher.add('b', 1), BatcherFull)
  await nextTurn()
  await t.rejects(batcher.add('b', 1), BatcherFull, 'an item that is being processed still counts')
  ends[0]?.resolve()
  await Promise.all(waiting)
  await nextTurn()
  const next = batcher.add('b', 1)
  await nextTurn()
  ends[1]?.resolve()
  t.equal(await next, 1)
})

t.test(
  'a batch that takes too long fails with all that gather behind it, and newcomers fail at once until it ends',
  async t => {
    const { batcher, ends } = startBatcher({ maxConcurrent: 1, maxMs: 20 })
    const slow = batcher.add('a', 1)
    await nextTurn()
    await nextTurn()
    const behind = batcher.add('b', 1)
    await Promise.all([t.rejects(slow, BatchOverdue), t.rejects(behind, BatchOverdue)])
    await t.rejects(batcher.add('c', 1), BatchOverdue)
    t.equal(ends.length, 1)
    ends[0]?.resolve()
    await nextTurn()
    await nextTurn()
    t.equal(ends.length, 1, 'nothing waits for what gathered behind it, so it is not processed')
    t.equal(batcher.waiting, 0)
    const next = batcher.add('c', 7)
    await nextTurn()
    await nextTurn()
    ends[1]?.resolve()
    t.equal(await next, 7)
  }
)

t.test('a batch that succeeds after its items have failed is reported, and one that fails is not', async t => {
  const late: string[] = []
  const { batcher, ends } = startBatcher({
    maxConcurrent: 1,
    maxMs: 20,
    onLate: (batch, resultOf) => late.push(...[...batch.keys()].map(key => `${key} ${resultOf(key)}`))
  })
  for (const [index, item] of [7, 8].entries()) {
    await t.rejects(batcher.add('a', item), BatchOverdue)
    if (item === 7) ends[index]?.resolve()
    else ends[index]?.reject(new Error('failed'))
    await nextTurn()
    await nextTurn()
  }
  t.same(late, ['a 7'])
})

t.test('flushing waits for every item, also for those that gather meanwhile', async t => {
  const { batcher, ends } = startBatcher({ maxConcurrent: 1 })
  await batcher.flush()
  const results = [batcher.add('a', 1)]
  await nextTurn()
  results.push(batcher.add('b', 1))
  let isFlushed = false
  const flushed = batcher.flush().then(() => {
    isFlushed = true
  })
  ends[0]?.resolve()
  await results[0]
  await nextTurn()
  await nextTurn()
  t.equal(isFlushed, false)
  ends[1]?.resolve()
  await flushed
  t.same(await Promise.all(results), [1, 1])
})
