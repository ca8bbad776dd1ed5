import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import t from 'tap'
import { FailureBrake } from '../../../../src/oauth/token/cache/failure-brake.ts'
import { caught } from '../../../fixtures/run/caught.ts'

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

t.test('a failure after the minute is over begins another', async t => {
  const brake = new FailureBrake(2)
  for (const time of [0, 60_000]) brake.count('192.0.2.1', CLIENT, time)
  brake.check('192.0.2.1', CLIENT, 60_000)
  brake.count('192.0.2.1', CLIENT, 119_999)
  t.match(
    caught(() => brake.check('192.0.2.1', CLIENT, 119_999)),
    {
      ...{ status: 429, code: 'slow_down', reason: 'too_many_failures' },
      ...{ message: 'Too many failures; wait before trying again.', headers: { 'retry-after': '1' } }
    }
  )
})

t.test('ids that cannot be share one place', async t => {
  const brake = new FailureBrake(1)
  brake.count('192.0.2.1', 'no id', 0)
  t.match(
    caught(() => brake.check('192.0.2.1', '', 1)),
    { status: 429 }
  )
  for (let id = 0; id < 10; id++) brake.count('192.0.2.1', `${'x'.repeat(100)}${id}`, 1)
  t.equal(brake.size, 1)
  brake.count('192.0.2.1', CLIENT, 1)
  t.equal(brake.size, 2)
})

/** Each of one /64, in different spellings. */
const NETWORKS = [
  ['2001:db8:1:2::1', '2001:db8:1:2:ffff::9', '2001:0DB8:0001:2:3:4:5:6', '2001:db8:1:2:3:4:5::', '2001:db8:1:2::'],
  ['2001:db8:1:3::1', '2001:db8:1:3:3:4:5:6'],
  ['2001:db8::1', '2001:0db8:0:0:5::', '2001:db8:0::5', '2001:db8::5:6:7:8'],
  ['2001:db8:0:1::1', '2001:db8::1:5:6:7:8'],
  ['2001:db8:1::1', '2001:db8:1:0:5:6:7:8'],
  ['::1', '::', '0:0:0:0:5:6:7:8', '::5:6:7:8', '0::1'],
  ['::1:5:6:7:8', '0:0:0:1::'],
  ['::1:2:5:6:7:8', '0:0:1:2::'],
  ['12::1', '12:0:0:0:5:6:7:8'],
  ['1:2::1', '1:2:0:0::'],
  ['192.0.2.1'],
  ['192.0.2.2']
]

t.test('the addresses of one IPv6 /64 are one source, however they are written; those of others are not', async t => {
  for (const [index, network] of NETWORKS.entries()) {
    for (const address of network) {
      const brake = new FailureBrake(1)
      brake.count(address, CLIENT, 0)
      for (const [other, addresses] of NETWORKS.entries()) {
        for (const asked of addresses) {
          const isBraked = caught(() => brake.check(asked, CLIENT, 1)) !== undefined
          t.equal(isBraked, other === index, `${address} and ${asked}`)
        }
      }
    }
  }
})

// [LOAD-3]
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
