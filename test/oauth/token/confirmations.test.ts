import t from 'tap'
import { type Asked, Confirmations, confirmUnchanged } from '../../../src/oauth/token/confirmations.ts'
import { startApp } from '../../fixtures/app/app.ts'
import { openTestLanes } from '../../fixtures/app/database.ts'

const asked = (clientId: string, version = 1, at = 0): Asked => ({ clientId, version, credentialNumber: 1, at })

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

t.test('two statements at a time: meanwhile the next batch gathers, each client in it once, at its latest', async t => {
  const { batches, answers, confirm } = heldBack()
  const confirmations = new Confirmations(confirm)
  const first = [asked('a', 1, 10), asked('b', 1, 11)].map(each => confirmations.confirm(each))
  await turn()
  const second = confirmations.confirm(asked('a', 1, 12))
  await turn()
  const third = [asked('a', 1, 20), asked('b', 1, 30), asked('a', 1, 15)].map(each => confirmations.confirm(each))
  await turn()
  t.same(batches, [[asked('a', 1, 10), asked('b', 1, 11)], [asked('a', 1, 12)]])
  answers[0]?.resolve(['a', 'b'])
  t.same(await Promise.all(first), ['confirmed', 'confirmed'])
  await turn()
  t.same(batches[2], [asked('a', 1, 20), asked('b', 1, 30)])
  answers[1]?.resolve([])
  answers[2]?.resolve(['b'])
  t.equal(await second, 'changed')
  t.same(await Promise.all(third), ['changed', 'confirmed', 'changed'])
  t.equal(batches.length, 3)
})

t.test('of two secrets of one client each is asked about', async t => {
  const { batches, answers, confirm } = heldBack()
  const confirmations = new Confirmations(confirm)
  const both = [1, 2].map(credentialNumber =>
    confirmations.confirm({ clientId: 'a', version: 1, credentialNumber, at: 0 })
  )
  await turn()
  t.equal(batches[0]?.length, 2)
  answers[0]?.resolve(['a', 'a'])
  t.same(await Promise.all(both), ['confirmed', 'confirmed'])
})

t.test('two versions of one client in one batch: the second is sent to read it', async t => {
  const { confirm } = heldBack()
  const confirmations = new Confirmations(confirm)
  void confirmations.confirm(asked('a', 1))
  t.equal(await confirmations.confirm(asked('a', 2)), 'changed')
})

t.test('nobody waits long for a database that does not answer, and whoever comes later not at all', async t => {
  const { answers, confirm } = heldBack()
  const confirmations = new Confirmations(confirm)
  const waiting: Promise<unknown>[] = []
  for (const clientId of ['a', 'b', 'c']) {
    waiting.push(confirmations.confirm(asked(clientId)))
    await turn()
  }
  t.same(await Promise.all(waiting), ['unavailable', 'unavailable', 'unavailable'])
  let isAnswered = false
  void confirmations.confirm(asked('d')).then(confirmation => {
    isAnswered = confirmation === 'unavailable'
  })
  await Promise.resolve()
  await Promise.resolve()
  t.ok(isAnswered, 'at once')
  for (let round = 0; round < 3; round++) {
    for (const { resolve } of answers) resolve([])
    await turn()
    await turn()
  }
  const later = confirmations.confirm(asked('e'))
  await turn()
  answers.at(-1)?.resolve(['e'])
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
