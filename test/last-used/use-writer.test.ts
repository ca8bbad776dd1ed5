import { setImmediate as nextTurn } from 'node:timers/promises'
import fc from 'fast-check'
import t from 'tap'
import type { Uses } from '../../src/last-used/repository.ts'
import { mergeUses, type Use, useOf } from '../../src/last-used/use.ts'
import { createUseWriter } from '../../src/last-used/use-writer.ts'

const noPause = async (): Promise<void> => {}
const quiet = { pause: noPause, onError: () => {}, onWritten: () => {} }

t.test('1,000 uses of one client are at most two writes, with the latest instant and the number of all', async t => {
  const writes: Uses[] = []
  const writer = createUseWriter({ ...quiet, write: async uses => void writes.push(uses) })
  const first = writer.add('a', useOf(1, 1))
  await nextTurn()
  await Promise.all([first, ...Array.from({ length: 999 }, (_, index) => writer.add('a', useOf(1, index + 2)))])
  t.ok(writes.length <= 2, `${writes.length} writes`)
  t.same(writes.at(-1)?.get('a'), useOf(1, 1_000, 999))
})

t.test('a use is reported as written when its write has succeeded, not before', async t => {
  const { promise, resolve } = Promise.withResolvers<void>()
  const writer = createUseWriter({ ...quiet, write: () => promise })
  let isWritten = false
  const written = writer.add('a', useOf(1, 1)).then(() => {
    isWritten = true
  })
  await nextTurn()
  t.equal(isWritten, false)
  resolve()
  await written
  t.equal(isWritten, true)
})

t.test('a write that fails is retried until it succeeds', async t => {
  const stored = new Map<string, Use>()
  let failures = 3
  const errors: unknown[] = []
  const writer = createUseWriter({
    ...quiet,
    write: async uses => {
      if (failures-- > 0) throw new Error('away')
      for (const [clientId, use] of uses) stored.set(clientId, use)
    },
    pause: async () => void writer.add('b', useOf(2, 7)),
    onError: error => errors.push(error)
  })
  await Promise.all([writer.add('a', useOf(1, 5)), writer.add('a', useOf(1, 3)), writer.add('a', useOf(2, 4))])
  await writer.flush()
  t.same(
    stored,
    new Map(Object.entries({ a: { oddAt: 5, evenAt: 4, count: 3 }, b: { oddAt: 0, evenAt: 7, count: 3 } }))
  )
  t.equal(errors.length, 3)
})

t.test(
  'in any order and with any failures, the latest instant and the number of uses of each client are stored',
  async () => {
    const use = fc.tuple(fc.constantFrom('a', 'b', 'c'), fc.integer({ min: 1, max: 1_000 }))
    await fc.assert(
      fc.asyncProperty(fc.array(use, { minLength: 1 }), fc.array(fc.boolean()), async (uses, outcomes) => {
        const stored = new Map<string, Use>()
        const writer = createUseWriter({
          ...quiet,
          write: async batch => {
            await nextTurn()
            if (outcomes.pop() === true) throw new Error('away')
            for (const [clientId, used] of batch) {
              const before = stored.get(clientId)
              stored.set(clientId, before === undefined ? used : mergeUses(used, before))
            }
          }
        })
        const writes = []
        for (const [clientId, at] of uses) {
          writes.push(writer.add(clientId, useOf(1, at)))
          if (at % 3 === 0) await nextTurn()
        }
        await Promise.all(writes)
        for (const [clientId, { oddAt, count }] of stored) {
          const instants = uses.filter(([id]) => id === clientId).map(([, instant]) => instant)
          if (oddAt !== Math.max(...instants) || count !== instants.length) return false
        }
        return stored.size === new Set(uses.map(([id]) => id)).size
      })
    )
  }
)
