import t from 'tap'
import { countByState } from '../../src/registrations/repository.ts'
import { Clock, startApp } from '../fixtures/app/app.ts'
import { asServingRole, openTestDatabase } from '../fixtures/app/database.ts'
import { DAY_MS } from '../fixtures/app/registration.ts'

t.test('registrations of all Sites are counted by their state', async t => {
  const clock = new Clock()
  const grantd = await startApp(t, { now: clock.now })
  const db = openTestDatabase(t, asServingRole(grantd.databaseUrl))
  t.same(await countByState(db, clock.time), { active: 0, expiring_30d: 0, expiring_7d: 0, expired: 0 })
  for (const [index, days] of [1, 2, 7, 8, 30, 31].entries()) {
    const expiresAt = new Date(clock.time + days * DAY_MS).toISOString()
    await grantd.register({ expiresAt }, index % 2 === 0 ? 'acme' : 'umbrella')
  }
  t.same(await countByState(db, clock.time), { active: 1, expiring_30d: 2, expiring_7d: 3, expired: 0 })
  clock.advance(2 * DAY_MS)
  t.same(await countByState(db, clock.time), { active: 0, expiring_30d: 2, expiring_7d: 2, expired: 2 })
})
