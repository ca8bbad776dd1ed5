import { setImmediate as nextTurn } from 'node:timers/promises'
import t from 'tap'
import { MAX_WAITING, RefusalRecorder } from '../../../src/registrations/diagnosis/recorder.ts'
import type { Refusal, Refusals } from '../../../src/registrations/diagnosis/refusal.ts'

const CLIENT = 'k3v9x2m7q1w8z5t4r6y0'
const SECOND_MS = 1_000

const refusalAt = (at: number, reason = 'wrong_secret'): Refusal => ({ at, reason, source: '198.51.100.7', count: 1 })

/** A recorder whose writes are kept, or fail while the database is away. Time passes when the test says so. */
function recorder() {
  const writes: ReadonlyMap<string, Refusals>[] = []
  const log: string[] = []
  const database = { isAway: false }
  const time = { now: 0, pause: Promise.withResolvers<void>(), pauseEndsAt: Number.POSITIVE_INFINITY }
  const recorder = new RefusalRecorder({
    write: async refusals => {
      if (database.isAway) throw new Error('away')
      writes.push(refusals)
    },
    pause: () => {
      time.pauseEndsAt = time.now + 10 * SECOND_MS
      time.pause = Promise.withResolvers()
      return time.pause.promise
    },
    log: { info: message => log.push(message), warn: (_fields, message) => log.push(message) }
  })
  const pass = async (ms: number): Promise<void> => {
    time.now += ms
    if (time.now >= time.pauseEndsAt) time.pause.resolve()
    await nextTurn()
  }
  return { recorder, writes, log, database, pass }
}

const countIn = (writes: readonly ReadonlyMap<string, Refusals>[]): number =>
  writes.reduce((sum, refusals) => sum + (refusals.get(CLIENT)?.withoutCredential?.count ?? 0), 0)

t.test('10,000 wrong secrets in a minute make at most 7 updates, which count all of them', async t => {
  const { recorder: recording, writes, pass } = recorder()
  for (let refusal = 0; refusal < 10_000; refusal++) {
    recording.note(CLIENT, 'withoutCredential', refusalAt(refusal))
    await pass(6)
  }
  await recording.flush()
  t.ok(writes.length > 1 && writes.length <= 7, `${writes.length} updates`)
  t.equal(countIn(writes), 10_000)
  t.equal(writes.at(-1)?.get(CLIENT)?.withoutCredential?.at, 9_999)
})

t.test('after a quiet time, a refusal is written at once, and nothing is written after it', async t => {
  const { recorder: recording, writes, pass } = recorder()
  for (const minute of [0, 1, 2]) {
    recording.note(CLIENT, 'withCredential', refusalAt(minute, 'disabled'))
    await pass(1)
    t.equal(writes.length, minute + 1)
    await pass(60 * SECOND_MS)
    t.equal(writes.length, minute + 1)
  }
})

// [TOKEN-21]
t.test('a write follows a refusal of an unknown client at the same time as that of a known one', async t => {
  const timesOfWrites = async (slot: 'withoutCredential' | undefined): Promise<number[]> => {
    const { recorder: recording, writes, pass } = recorder()
    const times: number[] = []
    for (let ms = 0; ms < 25 * SECOND_MS; ms += 100) {
      const before = writes.length
      if (ms % 700 === 0) recording.note(CLIENT, slot, refusalAt(ms))
      await pass(100)
      if (writes.length > before) times.push(ms)
    }
    return times
  }
  const known = await timesOfWrites('withoutCredential')
  t.equal(known.length, 3)
  t.same(await timesOfWrites(undefined), known)
})

// [LOAD-23]
t.test('100,000 guessed ids use bounded memory, and drive out no refusal that waits', async t => {
  const { recorder: recording, writes, pass } = recorder()
  recording.note(CLIENT, 'withoutCredential', refusalAt(0))
  await pass(1)
  recording.note(CLIENT, 'withCredential', refusalAt(1, 'disabled'))
  for (let id = 0; id < 100_000; id++) {
    recording.note(String(id).padStart(20, '0'), 'withoutCredential', refusalAt(1, 'malformed_secret'))
    recording.note(String(id).padStart(20, 'x'), undefined, refusalAt(1, 'unknown_client'))
  }
  t.equal(recording.waiting, MAX_WAITING)
  recording.note(CLIENT, 'withCredential', refusalAt(2, 'disabled'))
  await recording.flush()
  t.equal(recording.waiting, 0)
  t.same(writes[1]?.get(CLIENT)?.withCredential, { ...refusalAt(2, 'disabled'), count: 2 })
  t.ok(writes.every(refusals => refusals.size <= 500))
})

t.test('a write that fails is made up for by the next one, with one log line at each end of the trouble', async t => {
  const { recorder: recording, writes, log, database, pass } = recorder()
  database.isAway = true
  for (let seconds = 0; seconds < 60; seconds++) {
    recording.note(CLIENT, 'withoutCredential', refusalAt(seconds))
    await pass(SECOND_MS)
  }
  t.equal(writes.length, 0)
  t.equal(recording.waiting, 1)
  database.isAway = false
  await pass(10 * SECOND_MS)
  t.equal(countIn(writes), 60)
  t.same(log, ['refusals could not be written and will be retried', 'refusals are written again'])
})
