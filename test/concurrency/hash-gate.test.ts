import t from 'tap'
import { HashGate, HashGateFull } from '../../src/concurrency/hash-gate.ts'

t.test('so many pieces of work run at once, so many wait in order, the rest is refused', async t => {
  const gate = new HashGate(2, 3)
  const started: number[] = []
  const ends: (() => void)[] = []
  const run = (id: number) =>
    gate.run(() => {
      started.push(id)
      return new Promise<number>(resolve => ends.push(() => resolve(id)))
    })
  const work = [0, 1, 2, 3, 4].map(run)
  await t.rejects(run(5), HashGateFull)
  t.same(started, [0, 1])
  for (let ended = 0; ended < 5; ended++) {
    ends[ended]?.()
    t.equal(await work[ended], ended)
    await Promise.resolve()
  }
  t.same(started, [0, 1, 2, 3, 4])
  const [last] = [run(6)]
  t.equal(started.at(-1), 6, 'places are free again')
  ends[5]?.()
  t.equal(await last, 6)
})

t.test('work that fails gives its place back', async t => {
  const gate = new HashGate(1, 0)
  const failure = new Error('failed')
  await t.rejects(
    gate.run(() => Promise.reject(failure)),
    failure
  )
  t.equal(await gate.run(async () => 'done'), 'done')
})
