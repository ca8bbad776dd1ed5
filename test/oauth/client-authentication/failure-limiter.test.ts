import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import t from 'tap'
import { FailureLimiter } from '../../../src/oauth/client-authentication/failure-limiter.ts'
import { caught } from '../../fixtures/run/caught.ts'

const CLIENT = 'k3v9x2m7q1w8z5t4r6y0'
const OTHER_CLIENT = 'z'.repeat(20)

const tooMany = (waitSeconds: string) => ({
  status: 429,
  code: 'slow_down',
  reason: 'too_many_failures',
  message: 'Too many failures. Wait before trying again.',
  headers: { 'retry-after': waitSeconds }
})

t.test(
  'after the limit of failures in a minute, one source gets 429 for one client, with the time to wait',
  async t => {
    const limiter = new FailureLimiter(3)
    for (let failure = 0; failure < 3; failure++) limiter.count('192.0.2.1', CLIENT, 1_000)
    t.match(
      caught(() => limiter.count('192.0.2.1', CLIENT, 31_000)),
      tooMany('30')
    )
    t.match(
      caught(() => limiter.count('192.0.2.1', CLIENT, 60_999)),
      tooMany('1')
    )
    limiter.count('192.0.2.2', CLIENT, 31_000)
    limiter.count('192.0.2.1', OTHER_CLIENT, 31_000)
    for (let failure = 0; failure < 3; failure++) limiter.count('192.0.2.1', CLIENT, 61_000)
    t.match(
      caught(() => limiter.count('192.0.2.1', CLIENT, 61_000)),
      tooMany('60')
    )
  }
)

t.test('ids that cannot be client ids share one entry', async t => {
  const limiter = new FailureLimiter(1)
  limiter.count('192.0.2.1', 'no id', 0)
  t.match(
    caught(() => limiter.count('192.0.2.1', '', 1)),
    tooMany('60')
  )
  for (let id = 0; id < 10; id++) caught(() => limiter.count('192.0.2.1', `${'x'.repeat(100)}${id}`, 1))
  t.equal(limiter.size, 1)
  limiter.count('192.0.2.1', CLIENT, 1)
  t.equal(limiter.size, 2)
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

t.test(
  'the addresses of one IPv6 /64 network are one source, in every spelling, and other networks are others',
  async t => {
    for (const [index, network] of NETWORKS.entries()) {
      for (const address of network) {
        for (const [other, addresses] of NETWORKS.entries()) {
          for (const second of addresses) {
            const limiter = new FailureLimiter(1)
            limiter.count(address, CLIENT, 0)
            const isLimited = caught(() => limiter.count(second, CLIENT, 1)) !== undefined
            t.equal(isLimited, other === index, `${address} and ${second}`)
          }
        }
      }
    }
  }
)

// [LOAD-3]
t.test('its memory is bounded: 200,000 more failures take no more of it', async t => {
  const limiter = new FailureLimiter(1)
  const countUnknown = (from: number) => {
    for (let id = from; id < from + 200_000; id++) limiter.count('192.0.2.1', String(id).padStart(20, '0'), 0)
    for (let id = from; id < from + 1_000; id++) caught(() => limiter.count('192.0.2.1', 'x'.repeat(16_000) + id, 0))
    return usedHeapBytes()
  }
  const full = countUnknown(0)
  t.ok(countUnknown(200_000) - full < 4 * 1_048_576)
  t.match(
    caught(() => limiter.count('192.0.2.1', '399999'.padStart(20, '0'), 1)),
    { status: 429 }
  )
})

function usedHeapBytes(): number {
  setFlagsFromString('--expose-gc')
  runInNewContext('gc')()
  return process.memoryUsage().heapUsed
}
