import fc from 'fast-check'
import t from 'tap'
import { GroupCommit, type Uses } from '../../src/last-used/group-commit.ts'
import { later, type Use, useOf } from '../../src/last-used/use.ts'

const noPause = async (): Promise<void> => {}
const unexpected = (error: unknown): never => {
  throw error
}

t.test('while one batch is written the next gathers: 1,000 uses of one client are two writes', async t => {
  const writes: Uses[] = []
  const commits = new GroupCommit(async uses => void writes.push(uses), noPause, unexpected)
  const first = commits.note('a', useOf(1, 1))
  await Promise.resolve()
  await Promise.all([first, ...Array.from({ length: 999 }, (_, index) => commits.note('a', useOf(1, index + 2)))])
  t.ok(writes.length <= 2, `${writes.length} writes`)
  t.same(writes.at(-1)?.get('a'), useOf(1, 1_000))
})

t.test('a use is committed when the write that holds it is, not before', async t => {
  const { promise, resolve } = Promise.withResolvers<void>()
  const commits = new GroupCommit(() => promise, noPause, unexpected)
  let isCommitted = false
  const committed = commits.note('a', useOf(1, 1)).then(() => {
    isCommitted = true
  })
  await new Promise(setImmediate)
  t.equal(isCommitted, false)
  resolve()
  await committed
  t.equal(isCommitted, true)
})

t.test('what fails is written later, with what came since, and the latest instant wins', async t => {
  const stored = new Map<string, Use>()
  let failures = 3
  const errors: unknown[] = []
  const commits = new GroupCommit(
    async uses => {
      if (failures-- > 0) throw new Error('away')
      for (const [clientId, use] of uses) stored.set(clientId, use)
    },
    async () => void commits.note('b', useOf(2, 7)),
    error => errors.push(error)
  )
  await Promise.all([commits.note('a', useOf(1, 5)), commits.note('a', useOf(1, 3)), commits.note('a', useOf(2, 4))])
  t.same(stored, new Map(Object.entries({ a: { oddAt: 5, evenAt: 4 }, b: { oddAt: 0, evenAt: 7 } })))
  t.equal(errors.length, 3)
  await commits.flush()
})

t.test('whatever comes in which order and fails when, the latest instant of each client is stored', async () => {
  const use = fc.tuple(fc.constantFrom('a', 'b', 'c'), fc.integer({ min: 1, max: 1_000 }))
  await fc.assert(
    fc.asyncProperty(fc.array(use, { minLength: 1 }), fc.array(fc.boolean()), async (uses, outcomes) => {
      const stored = new Map<string, Use>()
      const commits = new GroupCommit(
        async batch => {
          await new Promise(setImmediate)
          if (outcomes.pop() === true) throw new Error('away')
          for (const [clientId, noted] of batch) stored.set(clientId, later(noted, stored.get(clientId)))
        },
        noPause,
        () => {}
      )
      const notes = []
      for (const [clientId, at] of uses) {
        notes.push(commits.note(clientId, useOf(1, at)))
        if (at % 3 === 0) await new Promise(setImmediate)
      }
      await Promise.all(notes)
      for (const [clientId, { oddAt }] of stored) {
        if (oddAt !== Math.max(...uses.filter(([id]) => id === clientId).map(([, instant]) => instant))) return false
      }
      return stored.size === new Set(uses.map(([id]) => id)).size
    })
  )
})
