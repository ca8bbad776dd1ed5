import t from 'tap'
import { moveLastUsed, moveLastUsedOfUnchanged } from '../../src/last-used/repository.ts'
import { useOf } from '../../src/last-used/use.ts'
import { startApp } from '../fixtures/app/app.ts'
import { asServingRole, openTestLanes, query } from '../fixtures/app/database.ts'
import type { Grantd } from '../fixtures/app/grantd.ts'

const AT = Date.parse('2026-11-25T10:00:00.000Z')

const lastUsedAt = async (grantd: Grantd, path: string): Promise<string | null> =>
  (await grantd.asAdmin('GET', path)).json().lastUsedAt

const atVersionOne = (ids: string[], at: number) =>
  [new Map(ids.map(id => [id, useOf(1, at)])), new Map(ids.map(id => [id, 1]))] as const

t.test('it moves for those whose registration is unchanged and was used before, and tells which', async t => {
  const grantd = await startApp(t)
  const { lastUses } = openTestLanes(t, asServingRole(grantd.databaseUrl))
  const [used, changed, unused] = [await grantd.register(), await grantd.register(), await grantd.register()]
  await moveLastUsed(lastUses, new Map([used, changed].map(({ clientId }) => [clientId, useOf(1, AT)])))
  await grantd.asAdmin('PATCH', changed.path, { body: { enabled: false } })
  const ids = [used.clientId, changed.clientId, unused.clientId, '0'.repeat(20)]
  t.same(await moveLastUsedOfUnchanged(lastUses, ...atVersionOne(ids, AT + 1_000)), [used.clientId])
  t.equal(await lastUsedAt(grantd, used.path), new Date(AT + 1_000).toISOString())
  t.equal(await lastUsedAt(grantd, changed.path), new Date(AT).toISOString())
  t.equal(await lastUsedAt(grantd, unused.path), null)
})

t.test('it never moves back, and the exchange is confirmed all the same', async t => {
  const grantd = await startApp(t)
  const { lastUses } = openTestLanes(t, asServingRole(grantd.databaseUrl))
  const { clientId, path } = await grantd.register()
  await moveLastUsed(lastUses, new Map([[clientId, useOf(1, AT)]]))
  t.same(await moveLastUsedOfUnchanged(lastUses, ...atVersionOne([clientId], AT - 5_000)), [clientId])
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
        `insert into registrations (client_id, site_id, name, name_folded, secret_hash, secret_created_at, scopes, enabled,
         registered_at, expires_at, expiry_set_at)
       select lpad(to_hex(i * 7919 % 65536) || i, 20, 'z'), site_id, name, name_folded, secret_hash, secret_created_at,
         scopes, enabled, registered_at, expires_at, expiry_set_at
       from registrations, generate_series(1, $2::int) as i where client_id = $1`,
        [clientId, registrations]
      )
      await query(
        grantd.databaseUrl,
        'insert into registration_last_used (client_id, last_used_at) select client_id, now() from registrations'
      )
      await query(grantd.databaseUrl, 'analyze')
      const rows = (await query(grantd.databaseUrl, 'select client_id from registrations')).map(Object)
      const ids = rows.map(({ client_id: id }) => String(id)).sort()
      const one = openTestLanes(t, asServingRole(grantd.databaseUrl)).lastUses
      const other = openTestLanes(t, asServingRole(grantd.databaseUrl)).lastUses
      const write = (lane: typeof one, from: number, round: number) => {
        const some = ids.filter((_, index) => (index + from) % 3 !== 0)
        return moveLastUsedOfUnchanged(lane, ...atVersionOne(from === 0 ? some : some.reverse(), AT + round))
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

t.test('a use of each of two secrets moves its own instant, and Last used to the later', async t => {
  const grantd = await startApp(t)
  const { lastUses } = openTestLanes(t, asServingRole(grantd.databaseUrl))
  const { clientId, path } = await grantd.register()
  await moveLastUsed(lastUses, new Map([[clientId, useOf(1, AT)]]))
  await moveLastUsedOfUnchanged(
    lastUses,
    ...([new Map([[clientId, useOf(2, AT + 1_000)]]), new Map([[clientId, 1]])] as const)
  )
  const [row] = await query(
    grantd.databaseUrl,
    'select odd_credential_used_at, even_credential_used_at from registration_last_used'
  )
  t.same(row, { odd_credential_used_at: new Date(AT), even_credential_used_at: new Date(AT + 1_000) })
  t.equal(await lastUsedAt(grantd, path), new Date(AT + 1_000).toISOString())
})
