import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import t from 'tap'
import { FailureBrake } from '../../src/tokens/failure-brake.ts'
import { caught } from '../fixtures/caught.ts'

const CLIENT = 'k3v9x2m7q1w8z5t4r6y0'
const OTHER_CLIENT = 'z'.repeat(20)

t.test('after so many failures a minute one source is braked for one client, and told for how long', async t => {
  const brake = new FailureBrake(3)
  for (let failure = 0; failure < 3; failure++) {
    brake.check('192.0.2.1', CLIENT, 1_000)
    brake.count('192.0.2.1', CLIENT, 1_000)
  }
  t.match(
    caught(() => brake.check('192.0.2.1', CLIENT, 31_000)),
    { status: 429, headers: { 'retry-after': '30' } }
  )
  brake.check('192.0.2.2', CLIENT, 31_000)
  brake.check('192.0.2.1', OTHER_CLIENT, 31_000)
  brake.check('192.0.2.1', CLIENT, 61_000)
  brake.count('192.0.2.1', CLIENT, 61_000)
  brake.check('192.0.2.1', CLIENT, 61_000)
})

t.test('the addresses of one IPv6 /64 are one source', async t => {
  const brake = new FailureBrake(1)
  brake.count('2001:db8:1:2::1', CLIENT, 0)
  t.match(
    caught(() => brake.check('2001:db8:1:2:ffff::9', CLIENT, 1)),
    { status: 429 }
  )
  brake.check('2001:db8:1:3::1', CLIENT, 1)
  brake.count('2001:db8::1', CLIENT, 0)
  t.match(
    caught(() => brake.check('2001:db8::2', CLIENT, 1)),
    { status: 429 }
  )
  t.match(
    caught(() => brake.check('2001:0db8:0:0:5::', CLIENT, 1)),
    { status: 429 }
  )
  brake.check('2001:db8:0:1::1', CLIENT, 1)
  brake.count('::1', CLIENT, 0)
  t.match(
    caught(() => brake.check('::1', CLIENT, 1)),
    { status: 429 }
  )
})

t.test('whatever is sent, its memory is bounded: 200,000 more failures take no more of it', async t => {
  const brake = new FailureBrake(1)
  const countUnknown = (from: number) => {
    for (let id = from; id < from + 200_000; id++) brake.count('192.0.2.1', String(id).padStart(20, '0'), 0)
    for (let id = from; id < from + 1_000; id++) brake.count('192.0.2.1', 'x'.repeat(16_000) + id, 0)
    return usedHeapBytes()
  }
  const full = countUnknown(0)
  t.ok(countUnknown(200_000) - full < 4 * 1_048_576)
  t.match(
    caught(() => brake.check('192.0.2.1', '399999'.padStart(20, '0'), 1)),
    { status: 429 }
  )
})

function usedHeapBytes(): number {
  setFlagsFromString('--expose-gc')
  runInNewContext('gc')()
  return process.memoryUsage().heapUsed
}
