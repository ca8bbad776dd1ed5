import t, { type Test } from 'tap'
import { createAnnouncer } from '../../src/notifications/announcer.ts'
import { listNotices } from '../../src/notifications/repository.ts'
import { deleteOldNotices } from '../../src/notifications/sweep/repository.ts'
import { findRegistration, type Registration } from '../../src/registrations/repository.ts'
import { asServingRole, createDatabase, openTestTables, query } from '../fixtures/app/database.ts'
import { DAY_MS } from '../fixtures/app/registration.ts'
import { insertRegistrationRow } from '../fixtures/app/registration-row.ts'

const AT = Date.parse('2026-11-23T09:00:00.000Z')

async function startAnnouncer(t: Test) {
  const databaseUrl = await createDatabase(t)
  const tables = openTestTables(t, asServingRole(databaseUrl))
  const { clientId } = await insertRegistrationRow(databaseUrl, { expiresAt: AT + 300 * DAY_MS, armedAt: AT })
  const site = { siteId: 'acme', db: tables.ofSite('acme') }
  const registration = await findRegistration(site, clientId)
  if (registration === undefined) throw new Error('no registration')
  let pumped = 0
  const announcer = createAnnouncer({ serviceKinds: ['mail'], outbox: { pumpInBackground: () => pumped++ } })
  const announce = async (at = AT, of: Registration = registration) => {
    const details = { credential: 'current', url: 'https://example.com/' }
    await site.db.transaction().execute(trx => announcer.record(trx, of, { type: 'secret_leaked', at, details }))
    announcer.deliver()
  }
  const deliveries = () => query(databaseUrl, 'select kind, state, receiver_id from notice_deliveries order by kind')
  return { databaseUrl, tables, site, clientId, announce, deliveries, pumped: () => pumped }
}

t.test('what happens to a registration is a notice for each receiver of its Site and of the service', async t => {
  const { databaseUrl, site, clientId, announce, deliveries, pumped } = await startAnnouncer(t)
  for (const [siteId, steps] of [
    ['acme', null],
    ['acme', [0]],
    ['globex', null]
  ] as const) {
    await query(
      databaseUrl,
      `insert into notice_receivers (id, site_id, kind, target, steps, created_at)
       values (gen_random_uuid(), $1, 'webhook', '{}', $2, now())`,
      [siteId, steps]
    )
  }
  await announce()
  t.match(await deliveries(), [{ kind: 'mail', receiver_id: null }, { kind: 'webhook' }, { kind: 'webhook' }])
  t.equal((await deliveries()).length, 3, 'steps of a receiver concern the expiry cadence only')
  t.equal(pumped(), 1, 'and is delivered at once')
  const page = { siteId: 'acme', clientId: undefined, step: undefined, limit: 10, after: undefined }
  t.match(await listNotices(site.db, page), [
    {
      client_id: clientId,
      type: 'secret_leaked',
      step: null,
      details: { credential: 'current' },
      fired_at: new Date(AT)
    }
  ])
  await announce()
  t.equal((await listNotices(site.db, page)).length, 2, 'the same may happen twice')
})

t.test('a notice that is no step of the cadence is old when it fired long ago, whatever the expiry', async t => {
  const { databaseUrl, tables, announce } = await startAnnouncer(t)
  await announce(AT)
  await announce(AT + 10 * DAY_MS)
  const prune = (before: number) =>
    tables.ofAllSites.transaction().execute(trx => deleteOldNotices(trx, new Date(before), 10))
  t.equal(await prune(AT), 0)
  t.equal(await prune(AT + DAY_MS), 1)
  t.same(await query(databaseUrl, 'select fired_at from notices'), [{ fired_at: new Date(AT + 10 * DAY_MS) }])
})
