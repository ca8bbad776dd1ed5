import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { Semaphore, SemaphoreFull, SemaphoreTimeout } from '../../src/concurrency/semaphore.ts'

t.test('callers beyond the permits wait in order, and a released permit goes to the first of them', async t => {
  const semaphore = new Semaphore({ permits: 2, maxWaiting: 3 })
  const started: number[] = []
  const ends: (() => void)[] = []
  const run = (id: number) =>
    semaphore.run(() => {
      started.push(id)
      return new Promise<number>(resolve => ends.push(() => resolve(id)))
    })
  const work = [0, 1, 2, 3, 4].map(run)
  await sleep(0)
  t.same([started, semaphore.load], [[0, 1], { running: 2, waiting: 3, admitted: 2, rejected: 0 }])
  for (let ended = 0; ended < 5; ended++) {
    ends[ended]?.()
    t.equal(await work[ended], ended)
    await sleep(0)
  }
  t.same([started, semaphore.load], [[0, 1, 2, 3, 4], { running: 0, waiting: 0, admitted: 5, rejected: 0 }])
})

t.test('a newcomer does not overtake a caller that waits', async t => {
  const semaphore = new Semaphore({ permits: 1, maxWaiting: 2 })
  const order: string[] = []
  await semaphore.acquire()
  const first = semaphore.acquire().then(() => order.push('first'))
  semaphore.release()
  const newcomer = semaphore.acquire().then(() => order.push('newcomer'))
  await first
  t.same(order, ['first'])
  semaphore.release()
  await newcomer
})

t.test('a caller that would wait behind too many is rejected at once', async t => {
  const semaphore = new Semaphore({ permits: 1, maxWaiting: 1 })
  await semaphore.acquire()
  const waiting = semaphore.acquire()
  await t.rejects(semaphore.acquire(), SemaphoreFull)
  t.same(semaphore.load, { running: 1, waiting: 1, admitted: 1, rejected: 1 })
  semaphore.release()
  await waiting
})

t.test('a caller that waits too long is rejected, and no permit is lost to it', async t => {
  const semaphore = new Semaphore({ permits: 1, maxWaiting: 1, maxWaitMs: 20 })
  await semaphore.acquire()
  await t.rejects(semaphore.acquire(), SemaphoreTimeout)
  t.same(semaphore.load, { running: 1, waiting: 0, admitted: 1, rejected: 1 })
  semaphore.release()
  await semaphore.acquire()
  t.equal(semaphore.load.running, 1)
})

t.test('a caller that gives up leaves its place to the next, and no permit is lost to it', async t => {
  const semaphore = new Semaphore({ permits: 1, maxWaiting: 1 })
  const caller = new AbortController()
  await semaphore.acquire()
  const gone = semaphore.acquire(caller.signal)
  caller.abort(new Error('gone'))
  const next = semaphore.acquire()
  semaphore.release()
  await t.rejects(gone, { message: 'gone' })
  await next
  t.same(semaphore.load, { running: 1, waiting: 0, admitted: 2, rejected: 0 })
  await t.rejects(semaphore.acquire(caller.signal), { message: 'gone' })
})

t.test('work that fails releases its permit', async t => {
  const semaphore = new Semaphore({ permits: 1, maxWaiting: 0 })
  const failure = new Error('failed')
  await t.rejects(
    semaphore.run(() => Promise.reject(failure)),
    failure
  )
  t.equal(await semaphore.run(async () => 'done'), 'done')
})
