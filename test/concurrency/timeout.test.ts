import t from 'tap'
import { waitAtLeast, within, withinTime } from '../../src/concurrency/timeout.ts'

// The timers of withinTime do not keep the process alive.
const alive = setInterval(() => {}, 1_000)
t.teardown(() => clearInterval(alive))

const NEVER = new Promise<never>(() => {})

t.test(
  'waiting lasts at least as long as asked, also when the event loop was busy before, and 0 is no wait',
  async t => {
    for (const ms of [0, 0.1, 1, 4.5, 20]) {
      const start = performance.now()
      // The timers of Node.js count from the beginning of a turn of the event loop.
      while (performance.now() - start < 10);
      const asked = performance.now()
      await waitAtLeast(ms)
      t.ok(performance.now() - asked >= ms, `${ms} ms`)
    }
  }
)

t.test('waiting ends with the work or with the limit, and says which', async t => {
  t.equal(await within(60_000, Promise.resolve('done')), true)
  t.equal(await within(5, NEVER), false)
  await t.rejects(within(60_000, Promise.reject(new Error('failed'))), { message: 'failed' })
})

t.test('work that fails after the limit does no harm', async t => {
  const work = Promise.withResolvers<void>()
  t.equal(await within(5, work.promise), false)
  work.reject(new Error('late'))
  await new Promise(setImmediate)
})

t.test('work that can be aborted is aborted at the limit', async t => {
  let isAborted = false
  const work = withinTime(5, new AbortController().signal, async signal => {
    signal.addEventListener('abort', () => {
      isAborted = true
    })
    await NEVER
  })
  await t.rejects(work, { name: 'TimeoutError' })
  t.equal(isAborted, true)
})

t.test('work that can be aborted is aborted with the outer signal, and not begun after it', async t => {
  const outer = new AbortController()
  const work = withinTime(60_000, outer.signal, () => NEVER)
  outer.abort(new Error('closing'))
  await t.rejects(work, { message: 'closing' })
  await t.rejects(
    withinTime(60_000, outer.signal, async () => t.fail('begun')),
    { message: 'closing' }
  )
})

t.test('work that ends in time gives its result or its error', async t => {
  const outer = new AbortController()
  t.equal(await withinTime(60_000, outer.signal, async () => 'done'), 'done')
  await t.rejects(
    withinTime(60_000, outer.signal, () => Promise.reject(new Error('failed'))),
    { message: 'failed' }
  )
})
