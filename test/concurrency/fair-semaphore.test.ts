import t from 'tap'
import { FairSemaphore } from '../../src/concurrency/fair-semaphore.ts'
import { SemaphoreFull } from '../../src/concurrency/semaphore.ts'

/** A semaphore whose one permit is held until `start` is called. Then it hands the permit on, one caller at a time. */
async function heldSemaphore(options = { maxWaitingPerKey: 100, maxWaiting: 1_000 }) {
  const semaphore = new FairSemaphore({ permits: 1, ...options })
  const held = Promise.withResolvers<void>()
  const holder = semaphore.run('holder', () => held.promise)
  const order: string[] = []
  const call = (key: string, name: string, signal?: AbortSignal) =>
    semaphore.run(key, async () => void order.push(name), signal)
  const start = async () => {
    held.resolve()
    await holder
  }
  return { semaphore, call, order, start }
}

t.test('each key has its turn, and callers of one key are served in order', async t => {
  const { call, order, start } = await heldSemaphore()
  const calls = ['a1', 'a2', 'a3', 'b1', 'c1', 'b2'].map(name => call(name.charAt(0), name))
  await start()
  await Promise.all(calls)
  t.same(order, ['a1', 'b1', 'c1', 'a2', 'b2', 'a3'])
})

t.test('a key that fills its queue is rejected, and every other key still waits its turn', async t => {
  const { semaphore, call, order, start } = await heldSemaphore({ maxWaitingPerKey: 3, maxWaiting: 5 })
  const calls = [1, 2, 3].map(index => call('a', `a${index}`))
  await t.rejects(call('a', 'a4'), SemaphoreFull)
  calls.push(call('b', 'b1'), call('b', 'b2'))
  await t.rejects(call('c', 'c1'), SemaphoreFull, 'the queues together are bounded too')
  t.same(semaphore.load, { running: 1, waiting: 5, admitted: 1, rejected: 2 })
  await start()
  await Promise.all(calls)
  t.same(order, ['a1', 'b1', 'a2', 'b2', 'a3'])
  t.same(semaphore.load, { running: 0, waiting: 0, admitted: 6, rejected: 2 })
})

t.test('a caller that gives up frees its place and does no work', async t => {
  const { semaphore, call, order, start } = await heldSemaphore({ maxWaitingPerKey: 1, maxWaiting: 10 })
  const controller = new AbortController()
  const gone = call('a', 'gone', controller.signal)
  await t.rejects(call('a', 'too many'), SemaphoreFull)
  controller.abort()
  await t.rejects(gone, { name: 'AbortError' })
  const next = call('a', 'next')
  await t.rejects(call('b', 'aborted before', AbortSignal.abort()), { name: 'AbortError' })
  await start()
  await next
  t.same(order, ['next'])
  t.same(semaphore.load, { running: 0, waiting: 0, admitted: 2, rejected: 1 })
})

t.test('work that fails passes its permit on', async t => {
  const semaphore = new FairSemaphore({ permits: 2, maxWaitingPerKey: 10, maxWaiting: 10 })
  const outcomes = await Promise.allSettled(
    Array.from({ length: 6 }, (_, index) =>
      semaphore.run(String(index % 2), async () => {
        if (index % 3 === 0) throw new Error('failed')
        return index
      })
    )
  )
  t.same(
    outcomes.map(({ status }) => status),
    ['rejected', 'fulfilled', 'fulfilled', 'rejected', 'fulfilled', 'fulfilled']
  )
  t.same(semaphore.load, { running: 0, waiting: 0, admitted: 6, rejected: 0 })
})
