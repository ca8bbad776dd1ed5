import t, { type Test } from 'tap'
import { type RepeatOptions, repeat } from '../../src/concurrency/repeat.ts'
import { until } from '../fixtures/run/until.ts'

// The loops do not keep the process alive.
const alive = setInterval(() => {}, 1_000)
t.teardown(() => clearInterval(alive))

function startJob(t: Test, options: Pick<RepeatOptions, 'work'> & Partial<RepeatOptions>) {
  const lines: string[] = []
  const log = {
    info: (_fields: object, message: string) => void lines.push(message),
    error: (_fields: object, message: string) => void lines.push(message)
  }
  const job = repeat({ name: 'a job', everyMs: 1, log, ...options })
  job.start()
  t.teardown(() => job.stop())
  return { job, lines }
}

t.test('a job runs again and again, one round at a time', async t => {
  let rounds = 0
  let running = 0
  let most = 0
  startJob(t, {
    work: async () => {
      most = Math.max(most, ++running)
      await new Promise(resolve => setTimeout(resolve, 3))
      running--
      rounds++
    }
  })
  await until('three rounds', () => rounds >= 3)
  t.equal(most, 1)
})

t.test('a job that fails goes on, with one line when it begins to fail and one when it works again', async t => {
  let rounds = 0
  const { lines } = startJob(t, {
    work: async () => {
      rounds++
      if (rounds < 4) throw new Error(`failure ${rounds}`)
    }
  })
  await until('six rounds', () => rounds >= 6)
  t.same(lines, ['a background job failed and will be retried', 'a background job works again'])
})

t.test('a job may start early and retry sooner than its pause', async t => {
  let rounds = 0
  startJob(t, {
    everyMs: 3_600_000,
    firstAfterMs: 0,
    retryAfterMs: 1,
    work: async () => {
      rounds++
      if (rounds === 1) throw new Error('failed')
    }
  })
  await until('a second round', () => rounds === 2)
  t.equal(rounds, 2)
})

t.test('pauses vary by the jitter, so that instances drift apart', async t => {
  const started: number[] = []
  const rounds = await Promise.all(
    Array.from({ length: 20 }, () => {
      const { promise, resolve } = Promise.withResolvers<void>()
      const begin = performance.now()
      startJob(t, {
        everyMs: 200,
        jitter: 1,
        work: async () => {
          started.push(performance.now() - begin)
          resolve()
        }
      })
      return promise
    })
  )
  t.equal(rounds.length, 20)
  t.ok(Math.max(...started) - Math.min(...started) > 20, 'twenty loops do not start together')
})

t.test('stopping waits for the current round, and no further round starts', async t => {
  let ended = 0
  const round = Promise.withResolvers<void>()
  const started = Promise.withResolvers<void>()
  const { job } = startJob(t, {
    work: async () => {
      started.resolve()
      await round.promise
      ended++
    }
  })
  await started.promise
  const stopped = job.stop()
  t.equal(ended, 0)
  round.resolve()
  await stopped
  t.equal(ended, 1)
  await new Promise(resolve => setTimeout(resolve, 20))
  t.equal(ended, 1)
})
