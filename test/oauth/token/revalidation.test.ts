import { setImmediate as nextTurn } from 'node:timers/promises'
import t from 'tap'
import { MAX_DELAY_MS, Revalidator, revalidateOnly, type VersionCheck } from '../../../src/oauth/token/revalidation.ts'
import { startApp } from '../../fixtures/app/app.ts'
import { openTestPipelinedConnections } from '../../fixtures/app/database.ts'

const check = (clientId: string, version = 1, credentialNumber = 1, at = 0, count = 1): VersionCheck => ({
  clientId,
  version,
  credentialNumber,
  at,
  count
})
const current = (clientId: string, version = 1) => ({ client_id: clientId, version })

/** A revalidator whose statements are answered by the test. */
function startRevalidator(maxDelayMs = 60_000) {
  const batches: VersionCheck[][] = []
  const answers: PromiseWithResolvers<ReturnType<typeof current>[]>[] = []
  const findCurrent = (checks: readonly VersionCheck[]) => {
    batches.push([...checks])
    const answer = Promise.withResolvers<ReturnType<typeof current>[]>()
    answers.push(answer)
    return answer.promise
  }
  const revalidator = new Revalidator({ findCurrent, recordsUse: true }, maxDelayMs)
  return { revalidator, batches, answers }
}

t.test('the next batch has each client once, at its latest instant, with the number of its exchanges', async t => {
  const { revalidator, batches, answers } = startRevalidator()
  const first = [check('a', 1, 1, 10), check('b', 1, 1, 11)].map(each => revalidator.revalidate(each))
  await nextTurn()
  const second = [20, 30, 15].map(at => revalidator.revalidate(check(at === 30 ? 'b' : 'a', 1, 1, at)))
  await nextTurn()
  t.equal(batches.length, 1)
  answers[0]?.resolve([current('a'), current('b')])
  t.same(await Promise.all(first), ['current', 'current'])
  await nextTurn()
  t.same(batches[1], [check('a', 1, 1, 20, 2), check('b', 1, 1, 30)])
  answers[1]?.resolve([current('b')])
  t.same(await Promise.all(second), ['stale', 'current', 'stale'])
})

t.test('at most two statements run at once, the second one when the first takes a while', async t => {
  const { revalidator, batches, answers } = startRevalidator()
  const results = []
  for (const clientId of ['a', 'b', 'c']) {
    results.push(revalidator.revalidate(check(clientId)))
    await nextTurn()
    // Longer than the lead of a statement, without a turn of the event loop.
    for (const started = performance.now(); performance.now() - started < 2; ) {}
  }
  t.same(batches, [[check('a')], [check('b')]])
  answers[1]?.resolve([current('b')])
  t.equal(await results[1], 'current')
  await nextTurn()
  t.same(batches[2], [check('c')])
  answers[0]?.resolve([current('a')])
  answers[2]?.resolve([current('c')])
  t.same(await Promise.all(results), ['current', 'current', 'current'])
})

t.test('two credentials of one client are two checks of one batch', async t => {
  const { revalidator, batches, answers } = startRevalidator()
  const both = [1, 2].map(number => revalidator.revalidate(check('a', 1, number)))
  await nextTurn()
  t.equal(batches[0]?.length, 2)
  answers[0]?.resolve([current('a'), current('a')])
  t.same(await Promise.all(both), ['current', 'current'])
})

t.test(
  'of two versions of one client in one batch, only the current one is current, whichever credential it is for',
  async t => {
    const { revalidator, answers } = startRevalidator()
    const checks = [check('a', 1, 1), check('a', 2, 2), check('a', 2, 1), check('a', 1, 2)]
    const results = checks.map(each => revalidator.revalidate(each))
    await nextTurn()
    answers[0]?.resolve([current('a', 2), current('a', 2)])
    t.same(await Promise.all(results), ['stale', 'current', 'current', 'stale'])
  }
)

t.test('a client waits at most 50 ms for a database that does not answer, and later clients do not wait', async t => {
  const waits: number[] = []
  const later: number[] = []
  // The least of several: a busy machine only adds.
  for (let round = 0; round < 5; round++) {
    const { revalidator } = startRevalidator(MAX_DELAY_MS)
    const started = performance.now()
    const waiting = []
    for (const clientId of ['a', 'b', 'c']) {
      waiting.push(revalidator.revalidate(check(clientId)))
      await nextTurn()
    }
    t.same(await Promise.all(waiting), ['unavailable', 'unavailable', 'unavailable'])
    waits.push(performance.now() - started)
    const gaveUp = performance.now()
    t.equal(await revalidator.revalidate(check('d')), 'unavailable')
    later.push(performance.now() - gaveUp)
  }
  t.ok(Math.min(...waits) <= 50, `${Math.min(...waits)} ms`)
  t.ok(Math.min(...later) < 5, `${Math.min(...later)} ms`)
})

t.test('once the database answers again, clients are revalidated again', async t => {
  const { revalidator, answers } = startRevalidator(1)
  t.equal(await revalidator.revalidate(check('a')), 'unavailable')
  answers[0]?.resolve([])
  await nextTurn()
  const next = revalidator.revalidate(check('a'))
  await nextTurn()
  answers[1]?.resolve([current('a')])
  t.equal(await next, 'current')
})

t.test('a statement that succeeds late says which exchanges it counted although they had stopped waiting', async t => {
  const late: (readonly VersionCheck[])[] = []
  const answer = Promise.withResolvers<ReturnType<typeof current>[]>()
  const revalidator = new Revalidator(
    { findCurrent: () => answer.promise, recordsUse: true, foundCurrentLate: checks => late.push(checks) },
    1
  )
  const waiting = ['a', 'a', 'b'].map(clientId => revalidator.revalidate(check(clientId)))
  t.same(await Promise.all(waiting), ['unavailable', 'unavailable', 'unavailable'])
  answer.resolve([current('a'), current('b', 2)])
  await nextTurn()
  t.same(late, [[check('a', 1, 1, 0, 2)]])
})

t.test('a statement that fails refuses no client', async t => {
  const findCurrent = () => Promise.reject(new Error('gone'))
  const revalidator = new Revalidator({ findCurrent, recordsUse: false })
  t.equal(await revalidator.revalidate(check('a')), 'unavailable')
  t.equal(await revalidator.revalidate(check('a')), 'unavailable')
})

t.test(
  'revalidation without recording finds the registrations of the same version and leaves Last used alone',
  async t => {
    const grantd = await startApp(t)
    const { lookups } = openTestPipelinedConnections(t, grantd.databaseUrl)
    const [same, changed, deleted] = [await grantd.register(), await grantd.register(), await grantd.register()]
    await grantd.asAdmin('PATCH', changed.path, { body: { name: 'other' } })
    await grantd.asAdmin('DELETE', deleted.path)
    const checks = [same, changed, deleted].map(({ clientId }) => check(clientId))
    const { findCurrent, recordsUse } = revalidateOnly(lookups)
    t.same(await findCurrent(checks), [current(same.clientId)])
    t.equal(recordsUse, false)
    t.equal((await grantd.asAdmin('GET', same.path)).json().lastUsedAt, null)
  }
)
