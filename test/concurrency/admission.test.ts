import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { Admission } from '../../src/concurrency/admission.ts'
import { DatabaseUnavailable } from '../../src/database/errors.ts'

const LONG_MS = 60_000

t.test('as many are in as there are places; a place that is left goes to the first who waits', async t => {
  const admission = new Admission({ places: 2, maxWaiting: 10, maxWaitMs: LONG_MS })
  const order: number[] = []
  await Promise.all([admission.enter(), admission.enter()])
  const waiting = [1, 2, 3].map(number => admission.enter().then(() => order.push(number)))
  await sleep(0)
  t.same([order, admission.load], [[], { inside: 2, waiting: 3, shed: 0 }])
  for (let left = 0; left < 3; left++) admission.leave()
  await Promise.all(waiting)
  t.same([order, admission.load], [[1, 2, 3], { inside: 2, waiting: 0, shed: 0 }])
  admission.leave()
  admission.leave()
  t.same(admission.load, { inside: 0, waiting: 0, shed: 0 })
})

t.test('one who would wait behind too many is told at once, one who waits too long then; both are counted', async t => {
  const admission = new Admission({ places: 1, maxWaiting: 1, maxWaitMs: 20 })
  await admission.enter()
  const late = admission.enter()
  await t.rejects(admission.enter(), DatabaseUnavailable)
  t.equal(admission.load.waiting, 1, 'at once: the other still waits')
  await t.rejects(late, DatabaseUnavailable)
  t.same(admission.load, { inside: 1, waiting: 0, shed: 2 })
  admission.leave()
  await admission.enter()
  t.equal(admission.load.inside, 1, 'who gave up takes no place')
})
