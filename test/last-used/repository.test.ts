import t from 'tap'
import { moveLastUsed, moveLastUsedOfUnchanged } from '../../src/last-used/repository.ts'
import { startApp } from '../fixtures/app.ts'
import { openTestLanes, query } from '../fixtures/database.ts'
import type { Grantd } from '../fixtures/grantd.ts'

const AT = Date.parse('2026-11-25T10:00:00.000Z')

const lastUsedAt = async (grantd: Grantd, path: string): Promise<string | null> =>
  (await grantd.asAdmin('GET', path)).json().lastUsedAt

t.test('it moves for those whose registration is unchanged and was used before, and tells which', async t => {
  const grantd = await startApp(t)
  const { lastUses } = openTestLanes(t, grantd.databaseUrl)
  const [used, changed, unused] = [await grantd.register(), await grantd.register(), await grantd.register()]
  await moveLastUsed(lastUses, new Map([used, changed].map(({ clientId }) => [clientId, AT])))
  await grantd.asAdmin('PATCH', changed.path, { body: { enabled: false } })
  const ids = [used.clientId, changed.clientId, unused.clientId, '0'.repeat(20)].sort()
  const later = ids.map(() => new Date(AT + 1_000))
  const ones = ids.map(() => 1)
  t.same(await moveLastUsedOfUnchanged(lastUses, ids, ones, later), [{ client_id: used.clientId }])
  t.equal(await lastUsedAt(grantd, used.path), new Date(AT + 1_000).toISOString())
  t.equal(await lastUsedAt(grantd, changed.path), new Date(AT).toISOString())
  t.equal(await lastUsedAt(grantd, unused.path), null)
})

t.test('it never moves back, and the exchange is confirmed all the same', async t => {
  const grantd = await startApp(t)
  const { lastUses } = openTestLanes(t, grantd.databaseUrl)
  const { clientId, path } = await grantd.register()
  await moveLastUsed(lastUses, new Map([[clientId, AT]]))
  const moved = await moveLastUsedOfUnchanged(lastUses, [clientId], [1], [new Date(AT - 5_000)])
  t.same(moved, [{ client_id: clientId }])
  t.equal(await lastUsedAt(grantd, path), new Date(AT).toISOString())
})

for (const registrations of [3, 3_000]) {
  t.test(
    `two instances that write the same ${registrations} at once never wait for each other in a circle`,
    async t => {
      const grantd = await startApp(t)
      const { clientId } = await grantd.register()
      await query(
        grantd.databaseUrl,
        `insert into registrations (client_id, site_id, name, name_folded, secret_hash, scopes, enabled, registered_at, expires_at)
       select lpad(to_hex(i * 7919 % 65536) || i, 20, 'z'), site_id, name, name_folded, secret_hash, scopes, enabled, registered_at, expires_at
       from registrations, generate_series(1, $2::int) as i where client_id = $1`,
        [clientId, registrations]
      )
      await query(grantd.databaseUrl, 'insert into registration_last_used select client_id, now() from registrations')
      await query(grantd.databaseUrl, 'analyze')
      const rows = (await query(grantd.databaseUrl, 'select client_id from registrations')).map(Object)
      const ids = rows.map(({ client_id: id }) => String(id)).sort()
      const one = openTestLanes(t, grantd.databaseUrl).lastUses
      const other = openTestLanes(t, grantd.databaseUrl).lastUses
      const write = (lane: typeof one, from: number, round: number) => {
        const some = ids.filter((_, index) => (index + from) % 3 !== 0)
        const at = new Date(AT + round)
        return moveLastUsedOfUnchanged(
          lane,
          some,
          some.map(() => 1),
          some.map(() => at)
        )
      }
      const outcomes: string[] = []
      for (let round = 0; round < 25; round++) {
        const settled = await Promise.allSettled([write(one, 0, round), write(other, 1, round)])
        for (const result of settled) {
          // Waiting too long for the other is no circle: that write is tried again.
          outcomes.push(result.status === 'fulfilled' ? 'moved' : String(Object(result.reason).cause?.code))
        }
      }
      t.notOk(outcomes.includes('40P01'), 'deadlock_detected')
      t.ok(outcomes.includes('moved'))
    }
  )
}
