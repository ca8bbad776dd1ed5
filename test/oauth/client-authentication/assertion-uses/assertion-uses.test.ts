import { setImmediate as nextTurn } from 'node:timers/promises'
import t from 'tap'
import { DatabaseUnavailable } from '../../../../src/database/errors.ts'
import { AssertionUses } from '../../../../src/oauth/client-authentication/assertion-uses/assertion-uses.ts'
import type {
  AssertionUse,
  RecordedUses
} from '../../../../src/oauth/client-authentication/assertion-uses/repository.ts'

const NOW = 1_800_000_000_000
const END = NOW + 60_000
const [A, B] = ['a'.repeat(20), 'b'.repeat(20)] as const
const USED = { status: 401, reason: 'assertion_used', message: /used before/ }

/** Uses whose statements are answered by the test: all are added by default. */
function start({ servesStale = true } = {}) {
  const batches: AssertionUse[][] = []
  const clock = { time: NOW }
  const outcome = { of: async (uses: readonly AssertionUse[]): Promise<RecordedUses[]> => addAll(uses) }
  const uses = new AssertionUses({
    record: async (batch, dropUntil) => {
      t.equal(dropUntil, clock.time - 60_000, 'digests are kept for a minute longer than their assertions')
      batches.push([...batch])
      return outcome.of(batch)
    },
    servesStale: () => servesStale,
    now: () => clock.time
  })
  return { uses, batches, clock, outcome }
}

const addAll = (uses: readonly AssertionUse[]): RecordedUses[] =>
  uses.map(({ clientId, digest }) => ({ client_id: clientId, added: [digest], full_until: null }))

t.test('an assertion is used once, and a second use on the same instance asks no database', async t => {
  const { uses, batches } = start()
  await uses.use(A, 'j', END)
  await t.rejects(uses.use(A, 'j', END), USED)
  t.equal(batches.length, 1)
  await uses.use(A, 'k', END)
  t.equal(batches.length, 2)
})

t.test('clients do not share their jti', async t => {
  const { uses, batches } = start()
  await Promise.all([uses.use(A, 'j', END), uses.use(B, 'j', END)])
  const digests = batches.flat().map(({ digest }) => digest)
  t.equal(new Set(digests).size, 2)
  for (const digest of digests) t.match(digest, /^-?\d{1,19}$/)
})

t.test('of many uses of one assertion at once, one is accepted', async t => {
  const { uses, batches } = start()
  const results = await Promise.allSettled(Array.from({ length: 50 }, () => uses.use(A, 'j', END)))
  t.equal(results.filter(({ status }) => status === 'fulfilled').length, 1)
  t.equal(batches.flat().length, 1)
})

t.test('an assertion that another instance has used is refused', async t => {
  const { uses, outcome } = start()
  outcome.of = async () => [{ client_id: A, added: [], full_until: null }]
  await t.rejects(uses.use(A, 'j', END), USED)
  outcome.of = async () => []
  await t.rejects(uses.use(B, 'j', END), USED, 'no registration any more')
})

t.test(
  'a client with 1,024 assertions that have not ended is told when to try again, and may send the same one',
  async t => {
    const { uses, outcome } = start()
    outcome.of = async () => [{ client_id: A, added: [], full_until: new Date(NOW + 5_500) }]
    await t.rejects(uses.use(A, 'j', END), {
      status: 429,
      code: 'slow_down',
      reason: 'too_many_assertions',
      headers: { 'retry-after': '66' }
    })
    outcome.of = async batch => addAll(batch).map(each => ({ ...each, full_until: new Date(NOW + 5_500) }))
    await uses.use(A, 'j', END)
  }
)

t.test('while the database is away, the memory of the process decides for clients that are served', async t => {
  const { uses, outcome } = start()
  await uses.use(A, 'before', END)
  outcome.of = () => Promise.reject(new DatabaseUnavailable('away'))
  await uses.use(A, 'during', END)
  for (const jti of ['before', 'during']) await t.rejects(uses.use(A, jti, END), USED, jti)
  outcome.of = async batch => addAll(batch)
  await t.rejects(uses.use(A, 'during', END), USED, 'also when the database is back, which does not know it')
})

t.test('what the memory has accepted is recorded by the next statement that succeeds, once', async t => {
  const { uses, batches, outcome } = start()
  outcome.of = () => Promise.reject(new DatabaseUnavailable('away'))
  await uses.use(A, 'during', END)
  await uses.use(B, 'during', END)
  const during = batches.flat().filter(({ clientId }, place, all) => clientId !== all[place - 1]?.clientId)
  outcome.of = async batch => addAll(batch)
  await uses.use(A, 'after', END)
  const [first, second, after] = batches.at(-1) ?? []
  t.same([first?.clientId, second?.clientId, after?.clientId], [A, B, A])
  t.ok(during.some(({ digest }) => digest === first?.digest))
  await uses.use(A, 'later', END)
  t.equal(batches.at(-1)?.length, 1)
})

t.test('what the memory has accepted never makes a use of another instance the first', async t => {
  const { uses, outcome } = start()
  outcome.of = () => Promise.reject(new DatabaseUnavailable('away'))
  await uses.use(A, 'during', END)
  // Only the one from before is new to the database.
  outcome.of = async batch => addAll(batch.slice(0, 1))
  await t.rejects(uses.use(A, 'other', END), USED)
})

t.test('while the database is away, other clients get 503, and may send the same assertion again', async t => {
  const { uses, outcome } = start({ servesStale: false })
  outcome.of = () => Promise.reject(new DatabaseUnavailable('away'))
  for (let time = 0; time < 2; time++) {
    await t.rejects(uses.use(A, 'j', END), { status: 503, reason: 'database_unavailable', message: /unavailable/ })
  }
  outcome.of = async batch => addAll(batch)
  await uses.use(A, 'j', END)
})

t.test('an error of another kind is not taken for an absent database', async t => {
  const { uses, outcome } = start()
  outcome.of = () => Promise.reject(new Error('permission denied'))
  await t.rejects(uses.use(A, 'j', END), /permission denied/)
})

t.test('a jti may come again when its assertion has ended', async t => {
  const { uses, clock } = start()
  await uses.use(A, 'j', END)
  clock.time = END - 1
  await t.rejects(uses.use(A, 'j', END), USED)
  clock.time = END
  await uses.use(A, 'j', END + 60_000)
})

t.test('at most two statements run at once, and all that wait are in the next one', async t => {
  const { uses, batches, outcome } = start()
  const answers: PromiseWithResolvers<void>[] = []
  outcome.of = async batch => {
    const answer = Promise.withResolvers<void>()
    answers.push(answer)
    await answer.promise
    return addAll(batch)
  }
  const all: Promise<void>[] = []
  for (let turn = 0; turn < 4; turn++) {
    all.push(uses.use(A, `${turn}`, END), uses.use(B, `${turn}`, END))
    await nextTurn()
    await nextTurn()
  }
  t.ok(batches.length >= 1 && batches.length <= 2)
  for (const answer of answers) answer.resolve()
  await nextTurn()
  await nextTurn()
  t.ok(batches.length <= 3)
  for (const answer of answers) answer.resolve()
  await Promise.all(all)
  t.equal(batches.flat().length, 8)
})
