import { execFile } from 'node:child_process'
import { createHash, randomBytes, randomUUID } from 'node:crypto'
import { promisify } from 'node:util'
import {
  BinaryOperationNode,
  type Kysely,
  type OperationNode,
  OperationNodeTransformer,
  OperatorNode,
  ValueNode
} from 'kysely'
import t, { type Test } from 'tap'
import { recordEvent } from '../../src/audit/record.ts'
import { findChain, listEvents } from '../../src/audit/repository.ts'
import { connect } from '../../src/database/connect.ts'
import type { Database } from '../../src/database/schema.ts'
import { isRowLevelSecurityActive, type Tables } from '../../src/database/site-scoped-pool.ts'
import { ALL_SITES } from '../../src/database/site-setting.ts'
import { listExpired } from '../../src/notifications/alerts/repository.ts'
import { deleteFeed, findFeedCreation, findFeedSite } from '../../src/notifications/calendar/feed/repository.ts'
import { listExpirations } from '../../src/notifications/calendar/repository.ts'
import { deleteReceiver, findReceiver, listReceivers } from '../../src/notifications/receivers/repository.ts'
import { findDelivery, listNotices } from '../../src/notifications/repository.ts'
import { listRegistrations } from '../../src/registrations/listing/repository.ts'
import { findRegistration } from '../../src/registrations/repository.ts'
import { startApp } from '../fixtures/app/app.ts'
import { eventOf } from '../fixtures/app/audit.ts'
import {
  asServingRole,
  createDatabase,
  createEmptyDatabase,
  migrateDatabase,
  openTestDatabase,
  openTestTables,
  query,
  queryInSites,
  serverUrl,
  withClient
} from '../fixtures/app/database.ts'
import { DAY_MS } from '../fixtures/app/registration.ts'
import { insertRegistrationRow } from '../fixtures/app/registration-row.ts'
import { ROOT } from '../fixtures/run/paths.ts'

const SITES = ['acme', 'umbrella'] as const

interface Ids {
  siteId: string
  clientId: string
  receiverId: string
  noticeId: string
  deliveryId: string
}

/** A database in which both Sites have one row of everything. */
async function twoSites(t: Test): Promise<{ url: string; ids: Record<(typeof SITES)[number], Ids> }> {
  const url = await createDatabase(t)
  return { url, ids: { acme: await furnish(t, url, 'acme'), umbrella: await furnish(t, url, 'umbrella') } }
}

async function furnish(t: Test, url: string, siteId: string): Promise<Ids> {
  const expired = Date.now() - 1_000
  const { clientId } = await insertRegistrationRow(url, { siteId, expiresAt: expired, armedAt: expired })
  const [receiverId, noticeId, deliveryId] = [randomUUID(), randomUUID(), randomUUID()]
  await query(url, 'update registration_last_used set last_used_at = now() where client_id = $1', [clientId])
  await query(url, 'insert into registration_refusals (client_id) values ($1)', [clientId])
  await query(
    url,
    `insert into notice_receivers (id, site_id, kind, target, created_at)
       values ($1, $2, 'mail', '{"addresses": ["a@b"]}', now())`,
    [receiverId, siteId]
  )
  await query(
    url,
    `insert into notices select $1, site_id, client_id, name, enabled, expires_at, 0, now()
       from registrations where client_id = $2`,
    [noticeId, clientId]
  )
  await query(
    url,
    `insert into notice_deliveries (id, notice_id, site_id, receiver_id, kind, state, attempts, due_at)
       values ($1, $2, $3, $4, 'mail', 'pending', 0, now())`,
    [deliveryId, noticeId, siteId, receiverId]
  )
  const digest = createHash('sha256').update(siteId).digest()
  await query(url, 'insert into calendar_feeds values ($1, $2, now())', [siteId, digest])
  await openTestDatabase(t, url)
    .transaction()
    .execute(trx => recordEvent(trx, { ...eventOf(siteId), subject: clientId }))
  return { siteId, clientId, receiverId, noticeId, deliveryId }
}

/** Makes every condition on a Site true: what a statement asks that forgot it. */
class ForgetSite extends OperationNodeTransformer {
  protected override transformBinaryOperation(node: BinaryOperationNode): BinaryOperationNode {
    if (!JSON.stringify(node.leftOperand).includes('"site_id"')) return super.transformBinaryOperation(node)
    const one: OperationNode = ValueNode.createImmediate(1)
    return BinaryOperationNode.create(one, OperatorNode.create('='), one)
  }
}

function forgetful(db: Kysely<Database>): Kysely<Database> {
  const forget = new ForgetSite()
  return db.withPlugin({
    transformQuery: ({ node }) => forget.transformNode(node),
    transformResult: async ({ result }) => result
  })
}

const LISTING = { sort: 'name', descending: false, limit: 10, after: undefined, search: undefined } as const
const UNFILTERED = { subject: undefined, actor: undefined, action: undefined, from: undefined, to: undefined }

/** What each read of one Site gives, by the Sites and ids it names. */
async function everyRead(db: Kysely<Database>, siteId: string): Promise<Record<string, string[]>> {
  const page = { siteId, limit: 10, after: undefined }
  const registrations = await listRegistrations(db, {
    ...page,
    ...LISTING,
    enabled: undefined,
    key: undefined,
    keyed: undefined,
    expiry: {},
    unusedSince: undefined
  })
  const notices = await listNotices(db, { ...page, clientId: undefined, step: undefined })
  return {
    registrations: registrations.map(row => row.site_id),
    expired: (await listExpired(db, { ...page, now: new Date() })).map(row => row.site_id),
    expirations: (await listExpirations(db, siteId, new Date(), 10)).expirations.map(row => row.client_id),
    receivers: (await listReceivers(db, siteId)).map(row => row.site_id),
    notices: notices.map(row => row.site_id),
    events: (await listEvents(db, { ...page, ...UNFILTERED })).map(row => row.site_id)
  }
}

/** Looks for each thing of another Site by its id. @returns what was found */
async function everyLookUp(db: Kysely<Database>, siteId: string, others: Ids): Promise<string[]> {
  const found = {
    registration: await findRegistration({ siteId, db }, others.clientId),
    receiver: await findReceiver(db, siteId, others.receiverId),
    delivery: await findDelivery(db, { siteId, noticeId: others.noticeId, deliveryId: others.deliveryId }),
    feed: await findFeedSite(db, createHash('sha256').update(others.siteId).digest()),
    chain: await findChain(db, siteId)
  }
  return Object.entries(found).flatMap(([what, row]) => (row === undefined ? [] : [what]))
}

// [SITE-14]
t.test('every table that has a Site, or belongs to one that has, is behind the wall, its owner too', async t => {
  const url = await createDatabase(t)
  const rows = await query(
    url,
    `with recursive of_site as (
       select attrelid as oid from pg_attribute join pg_class on pg_class.oid = attrelid and relkind = 'r'
         where attname = 'site_id' and not attisdropped and relnamespace = 'public'::regnamespace
       union select conrelid from pg_constraint join of_site on confrelid = of_site.oid where contype = 'f'
     )
     select relname, relrowsecurity and relforcerowsecurity as walled, exists (
       select from pg_policy where polrelid = pg_class.oid
     ) as has_policy from of_site join pg_class using (oid) order by 1`
  )
  t.same(
    rows,
    [
      ...['assertion_uses', 'audit_chains', 'audit_events', 'calendar_feeds', 'claim_tickets'],
      ...['notice_deliveries', 'notice_receivers', 'notices'],
      ...['registration_last_used', 'registration_refusals', 'registrations', 'token_revocations']
    ].map(relname => ({ relname, walled: true, has_policy: true }))
  )
})

// [SITE-9]
t.test('a statement that forgets its Site shows what is of this Site, and nothing of another', async t => {
  const { url, ids } = await twoSites(t)
  const { ofSite, ofAllSites } = openTestTables(t, asServingRole(url))
  const control = await everyRead(forgetful(ofAllSites), 'acme')
  for (const [read, rows] of Object.entries(control)) t.equal(rows.length, 2, `${read}: it does forget`)
  t.ok((await everyLookUp(forgetful(ofAllSites), 'acme', ids.umbrella)).includes('delivery'), 'it does forget')
  for (const [siteId, other] of [SITES, [...SITES].reverse()] as [keyof typeof ids, keyof typeof ids][]) {
    const db = forgetful(ofSite(siteId))
    const { expirations, ...rows } = await everyRead(db, siteId)
    t.same(expirations, [ids[siteId].clientId])
    for (const [read, sites] of Object.entries(rows)) t.same(sites, [siteId], read)
    t.same(await everyLookUp(db, siteId, ids[other]), ['chain'], 'which is its own')
    t.same(await everyLookUp(db, siteId, ids[siteId]), ['registration', 'receiver', 'delivery', 'feed', 'chain'])
    await db.transaction().execute(trx => deleteReceiver(trx, ids[other].receiverId))
    t.ok(await findReceiver(ofAllSites, other, ids[other].receiverId), 'it is still there')
    await ofSite(siteId)
      .transaction()
      .execute(trx => deleteFeed(trx, other))
    t.ok(await findFeedCreation(ofAllSites, other), 'it is still there')
  }
})

const TABLES = [
  ...['registrations', 'registration_last_used', 'registration_refusals', 'audit_events', 'audit_chains'],
  ...['notice_receivers', 'notices', 'notice_deliveries', 'calendar_feeds']
]

// [SITE-10]
t.test('in a Site its rows are seen, in all, all; in none nothing', async t => {
  const { url } = await twoSites(t)
  const serving = asServingRole(url)
  for (const table of TABLES) {
    const count = `select count(*)::int from ${table}`
    for (const [sites, seen] of [
      ['acme', 1],
      [ALL_SITES, 2],
      ['', 0],
      ['nowhere', 0],
      ['%', 0]
    ] as const) {
      t.same(await queryInSites(serving, sites, count), [{ count: seen }], `${table} in ${sites}`)
    }
  }
})

// [SITE-11]
t.test('a session that never named a Site sees no row, and neither does one after a transaction in a Site', async t => {
  const { url } = await twoSites(t)
  await withClient(asServingRole(url), async client => {
    const seesNothing = async (when: string) => {
      for (const table of TABLES) {
        const { rows } = await client.query(`select count(*)::int from ${table}`)
        t.same(rows, [{ count: 0 }], `${table} ${when}`)
      }
    }
    await seesNothing('at first')
    await client.query('begin')
    await client.query(`select set_config('grantd.site_id', 'acme', true)`)
    await client.query('commit')
    await seesNothing('after a transaction')
  })
})

// [SITE-12]
t.test('nothing of another Site is written, and nothing is moved to one', async t => {
  const { url, ids } = await twoSites(t)
  const serving = asServingRole(url)
  const { umbrella } = ids
  const before = await query(url, 'select row::text from registrations row order by 1')
  const [{ end }] = (await query(url, `select hash::text as end from audit_chains where site_id = 'umbrella'`)).map(
    Object
  )
  for (const statement of [
    `update registrations set site_id = 'umbrella'`,
    `insert into registrations (client_id, site_id, name, name_folded, secret_hash, secret_mac, secret_mac_key_id,
         secret_created_at, scopes, enabled, registered_at, expires_at, expiry_set_at)
       select 'zzzzzzzzzzzzzzzzzzzz', 'umbrella', name, name, secret_hash, secret_mac, secret_mac_key_id, now(), scopes, enabled, now(), now(), now()
         from registrations`,
    `insert into notice_receivers (id, site_id, kind, target, created_at)
       values (gen_random_uuid(), 'umbrella', 'mail', '{"addresses": ["a@b"]}', now())`,
    `insert into notices values
       (gen_random_uuid(), 'umbrella', '${umbrella.clientId}', 'name', true, now(), 7, now())`,
    `insert into notice_deliveries (id, notice_id, site_id, receiver_id, kind, state, attempts, due_at)
       values (gen_random_uuid(), '${umbrella.noticeId}', 'umbrella', gen_random_uuid(), 'mail', 'pending', 0, now())`,
    `insert into calendar_feeds values ('umbrella', sha256('another'), now()) on conflict (site_id)
       do update set key_digest = excluded.key_digest`,
    `update notice_deliveries set notice_id = '${umbrella.noticeId}'`,
    `insert into audit_events select 'umbrella', 2, occurred_at, action, subject, actor, actor_issuer,
       request_id, source, changes, '${end}', hash from audit_events`,
    // Of this Site too: the token endpoint alone writes Last used.
    `insert into registration_last_used select client_id, now() from registrations on conflict do nothing`,
    `insert into registration_refusals select client_id from registrations on conflict do nothing`
  ]) {
    for (const sites of ['acme', '']) {
      if (sites === '' && /select|update/.test(statement)) continue
      await t.rejects(queryInSites(serving, sites, statement), { code: '42501' }, `${sites}: ${statement}`)
    }
  }
  for (const statement of [
    `update registrations set enabled = false where client_id = '${umbrella.clientId}' returning 1`,
    `delete from registrations where client_id = '${umbrella.clientId}' returning 1`,
    `update notice_receivers set target = '{}' where id = '${umbrella.receiverId}' returning 1`,
    `update notice_deliveries set state = 'dead' where id = '${umbrella.deliveryId}' returning 1`,
    `update calendar_feeds set created_at = now() where site_id = 'umbrella' returning 1`,
    `update registration_last_used set last_used_at = now() returning 1`,
    `update registration_refusals set with_credential_count = 1 returning 1`
  ]) {
    t.same(await queryInSites(serving, 'acme', statement), [], statement)
  }
  t.same(await query(url, 'select row::text from registrations row order by 1'), before)
})

const sitesSeen = async (db: Kysely<Database>): Promise<string[]> =>
  (await db.selectFrom('registrations').select('site_id').orderBy('site_id').execute()).map(row => row.site_id)

/** Uses of a connection that end in each way there is. */
const ENDINGS: Record<string, (tables: Tables) => Promise<unknown>> = {
  'a statement': ({ ofSite }) => sitesSeen(ofSite('acme')),
  'a statement over all Sites': ({ ofAllSites }) => sitesSeen(ofAllSites),
  'a statement that failed': ({ ofSite }) =>
    ofSite('acme')
      .updateTable('registrations')
      .set({ site_id: 'umbrella' })
      .execute()
      .catch(() => {}),
  'a transaction': ({ ofSite }) =>
    ofSite('acme')
      .transaction()
      .execute(trx => sitesSeen(trx)),
  'a transaction that failed': ({ ofAllSites }) =>
    ofAllSites
      .transaction()
      .execute(async trx => trx.insertInto('registrations').values([]).execute())
      .catch(() => {}),
  'a snapshot': ({ ofAllSites }) =>
    ofAllSites
      .transaction()
      .setIsolationLevel('repeatable read')
      .setAccessMode('read only')
      .execute(trx => sitesSeen(trx))
}

// [SITE-13]
t.test('what a connection may see ends with its use, however that ends', async t => {
  const { url } = await twoSites(t)
  const tables = openTestTables(t, asServingRole(url), 1)
  for (const [ending, use] of Object.entries(ENDINGS)) {
    await use(tables)
    t.same(await sitesSeen(tables.ofSite('umbrella')), ['umbrella'], ending)
    await use(tables)
    t.same(await tables.ofSite('umbrella').transaction().execute(sitesSeen), ['umbrella'], ending)
    await use(tables)
    // The one connection as it is between two uses.
    const [row] = await query(
      url,
      `select count(*)::int from pg_stat_activity where state = 'idle in transaction' and datname = current_database()`
    )
    t.same(row, { count: 0 }, ending)
  }
  const sites = Array.from({ length: 200 }, (_, index) => SITES[index % 2] ?? '')
  t.same(
    await Promise.all(sites.map(site => sitesSeen(tables.ofSite(site)))),
    sites.map(site => [site]),
    '200 that take turns'
  )
})

t.test('a statement outside a transaction is one: all of it or nothing, and its error is told', async t => {
  const { url } = await twoSites(t)
  const { ofAllSites } = openTestTables(t, asServingRole(url), 1)
  const { numDeletedRows } = await ofAllSites.deleteFrom('registrations').executeTakeFirstOrThrow()
  t.equal(numDeletedRows, 2n)
  t.same(await query(url, 'select from registrations'), [])
  const nonsense = ofAllSites.updateTable('registrations').set({ version: -1_000_000_000_000 })
  await t.rejects(nonsense.execute(), { code: '22003' })
  t.same(await sitesSeen(ofAllSites), [])
})

t.test(
  'where the owner is no superuser he migrates, verifies and prunes, and stands behind the wall himself',
  async t => {
    const { url, owner } = await databaseOfOrdinaryOwner(t)
    await migrateDatabase(owner)
    t.same(await query(owner, 'select rolsuper or rolbypassrls as mighty from pg_roles where rolname = current_user'), [
      { mighty: false }
    ])
    t.ok(await isRowLevelSecurityActive(openTestDatabase(t, owner)))
    t.ok(await isRowLevelSecurityActive(openTestDatabase(t, asServingRole(url))))
    t.notOk(await isRowLevelSecurityActive(openTestDatabase(t, url)), 'a superuser has none')

    const grantd = await startApp(t, { databaseUrl: url })
    const registered = await grantd.register()
    await grantd.register({}, 'umbrella')
    t.equal((await grantd.exchange(registered)).status, 200)
    t.equal((await grantd.asAdmin('PATCH', registered.path, { body: { enabled: false } })).status, 200)
    t.equal((await grantd.asAdmin('DELETE', registered.path)).status, 204)
    const ofDeleted = 'select from registration_last_used where client_id = $1'
    t.same(await query(url, ofDeleted, [registered.clientId]), [], 'deleted with its registration')
    t.same(await queryInSites(owner, '', 'select from audit_events'), [], 'who names no Site sees none, as owner too')

    const { PATH = '' } = process.env
    const run = (door: string, environment = {}) =>
      promisify(execFile)(process.execPath, [door], {
        cwd: ROOT,
        env: { PATH, DATABASE_URL: asServingRole(url), MIGRATION_DATABASE_URL: owner, ...environment }
      })
    t.match((await run('src/commands/verify-audit.ts')).stdout, 'Sites: 2, events: 4, Sites with a fault: 0')
    t.match((await run('src/commands/verify-audit.ts', { DATABASE_URL: owner })).stdout, 'Sites: 2, events: 4')
    await openTestDatabase(t, owner)
      .transaction()
      .execute(trx => recordEvent(trx, eventOf('acme', 0, Date.now() - 400 * DAY_MS)))
    await openTestDatabase(t, owner)
      .transaction()
      .execute(trx => recordEvent(trx, eventOf('globex', 0, Date.now() - 400 * DAY_MS)))
    t.match(
      (await run('src/commands/prune-audit.ts', { AUDIT_RETENTION_DAYS: '30' })).stdout,
      /^1 audit events older than 30 days deleted/
    )
    t.match((await run('src/commands/verify-audit.ts')).stdout, 'Sites with a fault: 0')
    t.same(await migrateDatabase(owner), { applied: [], warnings: [] }, 'again')
  }
)

/** @returns connection strings of a superuser and of its owner, who is none */
async function databaseOfOrdinaryOwner(t: Test): Promise<{ url: string; owner: string }> {
  const url = await createEmptyDatabase(t)
  const [name, role] = [new URL(url).pathname.slice(1), `owner_${randomBytes(6).toString('hex')}`]
  await query(serverUrl().href, `create role ${role}`)
  await query(serverUrl().href, `alter database ${name} owner to ${role}`)
  t.teardown(async () => {
    await query(url, `drop owned by ${role} cascade`)
    await query(serverUrl().href, `alter database ${name} owner to current_user`)
    await query(serverUrl().href, `drop role ${role}`)
  })
  const owner = new URL(url)
  owner.searchParams.set('options', `-c role=${role}`)
  return { url, owner: owner.href }
}

t.test('served by the owner alone, who is no superuser, one Site is hidden from another all the same', async t => {
  const { owner } = await databaseOfOrdinaryOwner(t)
  const connection = await connect({
    url: owner,
    migrationUrl: owner,
    poolSize: 4,
    onIdleError: () => {},
    onConnectionChange: () => {}
  })
  await connection.migrate()
  for (const siteId of SITES) {
    await connection.background.transaction().execute(trx => recordEvent(trx, eventOf(siteId)))
  }
  const { ofSite } = connection.tables
  t.same(await ofSite('acme').selectFrom('audit_events').select('site_id').execute(), [{ site_id: 'acme' }])
  t.ok(await connection.isRowLevelSecurityActive())
  await connection.close()
})

t.test('the database of a Site cannot be opened with the value that means all Sites', async t => {
  const tables = openTestTables(t, asServingRole(await createDatabase(t)))
  for (const siteId of [ALL_SITES, '']) t.throws(() => tables.ofSite(siteId), /not the id of a Site/)
})
