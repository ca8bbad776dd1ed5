import t from 'tap'
import { type Asked, Confirmations, confirmUnchanged } from '../../src/tokens/confirmations.ts'
import { startApp } from '../fixtures/app.ts'
import { openTestLanes } from '../fixtures/database.ts'

const asked = (clientId: string, version = 1, at = 0): Asked => ({ clientId, version, secretNumber: 1, at })

/** A statement that answers when told to. */
function heldBack() {
  const batches: Asked[][] = []
  const answers: PromiseWithResolvers<string[]>[] = []
  return {
    batches,
    answers,
    confirm: (batch: readonly Asked[]) => {
      batches.push([...batch])
      const deferred = Promise.withResolvers<string[]>()
      answers.push(deferred)
      return deferred.promise
    }
  }
}

const turn = () => new Promise(setImmediate)

t.test(
  'one statement at a time: while it runs the next batch gathers, each client in it once, at its latest',
  async t => {
    const { batches, answers, confirm } = heldBack()
    const confirmations = new Confirmations(confirm)
    const first = confirmations.confirm(asked('a', 1, 10))
    await turn()
    await turn()
    const second = [asked('a', 1, 20), asked('b', 1, 30), asked('a', 1, 15)].map(each => confirmations.confirm(each))
    await turn()
    t.same(batches, [[asked('a', 1, 10)]])
    answers[0]?.resolve(['a'])
    t.equal(await first, 'confirmed')
    await turn()
    await turn()
    t.same(batches[1], [asked('a', 1, 20), asked('b', 1, 30)])
    answers[1]?.resolve(['b'])
    t.same(await Promise.all(second), ['changed', 'confirmed', 'changed'])
    t.equal(batches.length, 2)
  }
)

t.test('two versions of one client in one batch: the second is sent to read it', async t => {
  const { confirm } = heldBack()
  const confirmations = new Confirmations(confirm)
  void confirmations.confirm(asked('a', 1))
  t.equal(await confirmations.confirm(asked('a', 2)), 'changed')
})

t.test('nobody waits long for a database that does not answer, and whoever comes later not at all', async t => {
  const { answers, confirm } = heldBack()
  const confirmations = new Confirmations(confirm)
  const first = confirmations.confirm(asked('a'))
  await turn()
  await turn()
  const gathering = confirmations.confirm(asked('b'))
  t.same(await Promise.all([first, gathering]), ['unavailable', 'unavailable'])
  let isAnswered = false
  void confirmations.confirm(asked('c')).then(confirmation => {
    isAnswered = confirmation === 'unavailable'
  })
  await Promise.resolve()
  await Promise.resolve()
  t.ok(isAnswered, 'at once')
  answers[0]?.resolve(['a'])
  await turn()
  await turn()
  await turn()
  answers[1]?.resolve([])
  await turn()
  const later = confirmations.confirm(asked('d'))
  await turn()
  await turn()
  answers[2]?.resolve(['d'])
  t.equal(await later, 'confirmed', 'it answers again')
})

t.test('a statement that fails refuses nobody', async t => {
  const confirmations = new Confirmations(() => Promise.reject(new Error('gone')))
  t.equal(await confirmations.confirm(asked('a')), 'unavailable')
  t.equal(await confirmations.confirm(asked('a')), 'unavailable')
})

t.test('what only confirms finds those of the same version, without Last used', async t => {
  const grantd = await startApp(t)
  const { lookups } = openTestLanes(t, grantd.databaseUrl)
  const [same, changed, deleted] = [await grantd.register(), await grantd.register(), await grantd.register()]
  await grantd.asAdmin('PATCH', changed.path, { body: { name: 'other' } })
  await grantd.asAdmin('DELETE', deleted.path)
  const ids = [same, changed, deleted].map(({ clientId }) => asked(clientId))
  t.same(await confirmUnchanged(lookups, ids), [same.clientId])
  t.equal((await grantd.asAdmin('GET', same.path)).json().lastUsedAt, null)
})
