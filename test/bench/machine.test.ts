import t from 'tap'
import { doubtsOf, watchClock } from '../../bench/doubts.ts'
import { quietMachine } from './fixtures.ts'

const quiet = { foreignShares: [0.01, 0.02, 0.01], clockStepsMs: [] }

t.test('a quiet machine raises no doubt', async t => {
  t.same(doubtsOf(quietMachine, quiet), [])
})

t.test('other load, before or during the bench, is a reason not to believe it', async t => {
  t.match(doubtsOf({ ...quietMachine, busyShare: 0.4 }, quiet), [/other programs took 40 % .* before/])
  t.match(doubtsOf(quietMachine, { ...quiet, foreignShares: [0, 0.3, 0.5] }), [/other programs took 30 % .* while/])
})

t.test('a disk that does not keep pages, is slow, or is uneven is a reason not to believe it', async t => {
  const doubtsOfSync = (p50: number, p99: number) => doubtsOf({ ...quietMachine, sync: { p50, p99 } }, quiet)
  t.match(doubtsOfSync(0.001, 0.002), [/does not keep/])
  t.match(doubtsOfSync(25, 30), [/commits hide/])
  t.match(doubtsOfSync(0.2, 40), [/one page in a hundred takes 40.0 ms/])
})

t.test('a jump of the clock is a reason not to believe it', async t => {
  let wallClock = 1_000_000
  const stop = watchClock(
    () => wallClock,
    () => 1_000
  )
  wallClock -= 3_000
  const steps = stop()
  t.same(steps, [-3_000])
  t.match(doubtsOf(quietMachine, { ...quiet, clockStepsMs: steps }), [/the clock jumped by -3000 ms/])
})

t.test('an interrupted reading of the two clocks is not a jump', async t => {
  const readings = [0, 50, 0]
  const stop = watchClock(
    () => readings.shift() ?? 0,
    () => 0
  )
  t.same(stop(), [])
})
