import t from 'tap'
import { createClientSecret } from '../../../src/credentials/secret.ts'
import { refusalSlotOf } from '../../../src/oauth/refusal-slot.ts'
import { clearOldRefusals, recordRefusals } from '../../../src/registrations/diagnosis/repository.ts'
import { Clock, startApp } from '../../fixtures/app/app.ts'
import { createDatabase, openTestDatabase, query, withClient } from '../../fixtures/app/database.ts'
import type { Grantd, Json } from '../../fixtures/app/grantd.ts'
import { requestBytes, sendPipelined } from '../../fixtures/app/raw-http.ts'
import { DAY_MS, inDays } from '../../fixtures/app/registration.ts'
import { proxyPostgres } from '../../fixtures/faults/tcp-proxy.ts'
import { until } from '../../fixtures/run/until.ts'

const NO_REFUSALS = { withCredential: null, withoutCredential: null }
const wrong = createClientSecret('grantd_')

/** The statistics of Postgres come late; a sequence is exact. */
const COUNT_WRITES = `
  create sequence writes;
  create function count_write() returns trigger language plpgsql security definer as
    $$ begin perform nextval('writes'); return null; end $$;
  create trigger count_write after insert or update on registration_refusals for each row execute function count_write()`

type Registered = Awaited<ReturnType<Grantd['register']>>

const diagnose = async (grantd: Grantd, { path }: Pick<Registered, 'path'>): Promise<Json> =>
  (await grantd.asAdmin('GET', `${path}/diagnosis`)).json()

/** Waits until the diagnosis shows what was refused. It is written after the answer has left. */
async function diagnosisWith(
  grantd: Grantd,
  registered: Registered,
  isShown: (refusals: Json) => boolean
): Promise<Json> {
  let diagnosis: Json
  await until('the refusal shows', async () => {
    diagnosis = await diagnose(grantd, registered)
    return isShown(diagnosis.refusals)
  })
  return diagnosis
}

t.test(
  'wouldSucceed says what the token endpoint decides now about the right credential, with each reason',
  async t => {
    const clock = new Clock()
    const grantd = await startApp(t, { now: clock.now })
    for (const enabled of [true, false]) {
      for (const isExpired of [false, true]) {
        const expiresAt = inDays(1, clock.time)
        const registered = await grantd.register({ enabled, expiresAt })
        if (isExpired) clock.advance(DAY_MS)
        const diagnosis = await diagnose(grantd, registered)
        t.equal((await grantd.exchange(registered)).status, diagnosis.wouldSucceed ? 200 : 401)
        t.same(
          diagnosis.reasons.map(({ code }: Json) => code),
          [...(enabled ? [] : ['disabled']), ...(isExpired ? ['expired'] : [])]
        )
        const expired = diagnosis.reasons.find(({ code }: Json) => code === 'expired')
        t.equal(expired?.since, isExpired ? expiresAt : undefined)
      }
    }
  }
)

t.test('a registration that was never refused has no refusals, and an exchange leaves none', async t => {
  const grantd = await startApp(t)
  const registered = await grantd.register()
  t.equal((await grantd.exchange(registered)).status, 200)
  t.same(await diagnose(grantd, registered), { wouldSucceed: true, reasons: [], refusals: NO_REFUSALS })
})

t.test('a refusal with the right credential has its instant, reason, source and count', async t => {
  const clock = new Clock()
  const grantd = await startApp(t, { now: clock.now, environment: { TRUSTED_PROXIES: '127.0.0.1' } })
  const disabled = await grantd.register({ enabled: false })
  const { clientId: client_id, clientSecret: client_secret } = disabled
  const answer = await grantd.requestToken({ client_id, client_secret }, { 'x-forwarded-for': '198.51.100.7' })
  t.equal(answer.status, 401)
  const at = new Date(clock.time).toISOString()
  const refusal = { at, reason: 'disabled', source: '198.51.100.7', count: 1 }
  const { refusals } = await diagnosisWith(grantd, disabled, ({ withCredential }) => withCredential !== null)
  t.same(refusals, { withCredential: refusal, withoutCredential: null })
})

t.test('refusals of the owner of a credential and of anybody else are kept apart', async t => {
  const clock = new Clock()
  const databaseUrl = await createDatabase(t)
  const slotOf = async (
    reason: string,
    members: Record<string, unknown>,
    request: (registered: Registered, grantd: Grantd) => Promise<unknown>
  ): Promise<void> => {
    // Its first refusal is written at once.
    const grantd = await startApp(t, { now: clock.now, databaseUrl })
    const registered = await grantd.register(members)
    await request(registered, grantd)
    const { refusals } = await diagnosisWith(
      grantd,
      registered,
      shown => shown.withCredential ?? shown.withoutCredential
    )
    const slot = refusals.withCredential === null ? 'withoutCredential' : 'withCredential'
    t.equal(refusals[slot].reason, reason)
    t.equal(slot, refusalSlotOf(reason), reason)
    await grantd.close()
  }
  const expiresAt = inDays(1, clock.time)
  const exchange = (registered: Registered, grantd: Grantd) => grantd.exchange(registered)
  const scope =
    (scope: string) =>
    ({ clientId, clientSecret }: Registered, grantd: Grantd) =>
      grantd.requestToken({ client_id: clientId, client_secret: clientSecret, scope })
  await slotOf('disabled', { enabled: false }, exchange)
  await slotOf('scope_not_allowed', {}, scope('devices:read'))
  await slotOf('malformed_scope', {}, scope('devices  read'))
  await slotOf('retired_secret', {}, async (registered, grantd) => {
    await grantd.asAdmin('POST', `${registered.path}/rotate-secret`, { body: { overlapSeconds: 0 } })
    t.equal((await grantd.exchange(registered)).status, 401)
  })
  await slotOf('wrong_secret', {}, ({ clientId }, grantd) => grantd.exchange({ clientId, clientSecret: wrong }))
  await slotOf('malformed_secret', {}, ({ clientId }, grantd) => grantd.exchange({ clientId, clientSecret: 'junk' }))
  await slotOf('expired', { expiresAt }, (registered, grantd) => {
    clock.advance(DAY_MS)
    return grantd.exchange(registered)
  })
})

// [LOAD-22]
t.test('10,000 guesses hide no refusal with the right credential, and count exactly with few writes', async t => {
  const databaseUrl = await createDatabase(t)
  await query(databaseUrl, COUNT_WRITES)
  const instances = [await startApp(t, { databaseUrl }), await startApp(t, { databaseUrl })]
  const reader = await startApp(t, { databaseUrl })
  const registered = await reader.register({ enabled: false })
  const [one = reader] = instances
  t.equal((await one.exchange(registered)).status, 401)
  const started = performance.now()
  const form = `grant_type=client_credentials&client_id=${registered.clientId}&client_secret=${wrong}`
  const headers = { 'Content-Type': 'application/x-www-form-urlencoded' }
  const request = requestBytes('/oauth/token', headers, Buffer.from(form))
  for (let round = 0; round < 5; round++) {
    await Promise.all(
      instances.flatMap(({ baseUrl }) => Array.from({ length: 50 }, () => sendPipelined(baseUrl, request, 20)))
    )
  }
  const seconds = (performance.now() - started) / 1_000
  // Closing writes what waits.
  await Promise.all(instances.map(instance => instance.close()))
  const { refusals } = await diagnose(reader, registered)
  t.match(refusals.withCredential, { reason: 'disabled', count: 1 })
  t.match(refusals.withoutCredential, { reason: 'wrong_secret', count: 10_000 }, 'also those that got 429')
  const [counted] = await query(databaseUrl, "select nextval('writes')::int - 1 as writes")
  const { writes } = Object(counted)
  const most = instances.length * (Math.floor(seconds / 10) + 2)
  t.ok(writes > 0 && writes <= most, `${writes} writes`)
})

t.test('only the latest refusal of a slot stays, whichever instance writes last', async t => {
  const grantd = await startApp(t)
  const registered = await grantd.register()
  const db = openTestDatabase(t, grantd.databaseUrl)
  const write = (at: number, source: string) =>
    recordRefusals(
      db,
      new Map([[registered.clientId, { withoutCredential: { at, reason: 'wrong_secret', source, count: 2 } }]])
    )
  const now = Date.now()
  await write(now, '198.51.100.1')
  await write(now - 1, '198.51.100.2')
  const latest = { at: new Date(now).toISOString(), reason: 'wrong_secret', source: '198.51.100.1', count: 4 }
  t.same((await diagnose(grantd, registered)).refusals, { withCredential: null, withoutCredential: latest })
})

t.test('guessed ids leave no row, and a registration takes its refusals with it', async t => {
  const grantd = await startApp(t)
  const registered = await grantd.register({ enabled: false })
  const rows = () => query(grantd.databaseUrl, 'select client_id from registration_refusals')
  for (let id = 0; id < 100; id++) {
    await grantd.exchange({ clientId: String(id).padStart(20, '0'), clientSecret: wrong })
    await grantd.exchange({ clientId: String(id).padStart(20, '0'), clientSecret: 'junk' })
  }
  await grantd.exchange(registered)
  const other = await startApp(t, { databaseUrl: grantd.databaseUrl })
  await other.exchange(registered)
  await grantd.close()
  await until('the refusal is written', async () => (await rows()).length > 0)
  t.same(await rows(), [{ client_id: registered.clientId }])
  t.equal((await other.asAdmin('DELETE', registered.path)).status, 204)
  t.same(await rows(), [])
  t.equal((await other.asAdmin('GET', `${registered.path}/diagnosis`)).status, 404)
})

t.test('refusals of a registration that is being deleted are left out, and those of others are written', async t => {
  const grantd = await startApp(t)
  const [deleted, kept] = [await grantd.register(), await grantd.register()]
  const refusals = { withCredential: { at: Date.now(), reason: 'disabled', source: '198.51.100.7', count: 1 } }
  await withClient(grantd.databaseUrl, async client => {
    await client.query('begin')
    await client.query('delete from registrations where client_id = $1', [deleted.clientId])
    const both = new Map([deleted, kept].map(({ clientId }) => [clientId, refusals]))
    await recordRefusals(openTestDatabase(t, grantd.databaseUrl), both)
    await client.query('commit')
  })
  t.match((await diagnose(grantd, kept)).refusals, { withCredential: { count: 1 } })
})

// [LOAD-24]
t.test('a slot is cleared 30 days after its latest refusal, and the other slot stays', async t => {
  const grantd = await startApp(t)
  const registered = await grantd.register()
  const db = openTestDatabase(t, grantd.databaseUrl)
  const now = Date.now()
  const refusal = { reason: 'wrong_secret', source: '198.51.100.7', count: 3 }
  const refusals = { withCredential: { ...refusal, at: now - 1 }, withoutCredential: { ...refusal, at: now } }
  await recordRefusals(db, new Map([[registered.clientId, refusals]]))
  t.notOk(await clearOldRefusals(db, now, 1_000))
  const stays = { ...refusal, at: new Date(now).toISOString() }
  t.same((await diagnose(grantd, registered)).refusals, { withCredential: null, withoutCredential: stays })
  await recordRefusals(db, new Map([[registered.clientId, { withCredential: { ...refusal, at: now } }]]))
  t.equal((await diagnose(grantd, registered)).refusals.withCredential.count, 3, 'it counts from the beginning')
})

t.test('every instance clears old refusals by itself', async t => {
  const clock = new Clock()
  const first = await startApp(t, { now: clock.now })
  const registered = await first.register({ enabled: false })
  await first.exchange(registered)
  await diagnosisWith(first, registered, ({ withCredential }) => withCredential !== null)
  clock.advance(30 * DAY_MS + 1)
  const later = await startApp(t, { now: clock.now, databaseUrl: first.databaseUrl, refusalRetentionIntervalMs: 10 })
  await diagnosisWith(later, registered, ({ withCredential }) => withCredential === null)
})

t.test('while the database is away, no token waits for a refusal, and the refusal is written later', async t => {
  const { proxy, url } = await proxyPostgres(t, await createDatabase(t))
  const grantd = await startApp(t, { databaseUrl: url })
  const [disabled, working] = [await grantd.register({ enabled: false }), await grantd.register()]
  t.equal((await grantd.exchange(working)).status, 200)
  await proxy.refuse()
  t.equal((await grantd.exchange({ ...disabled, clientSecret: 'junk' })).status, 401)
  t.equal((await grantd.exchange(working)).status, 200)
  await proxy.accept()
  await until('the database is back', async () => (await grantd.exchange(disabled)).status === 401)
  await grantd.close()
  const reader = await startApp(t, { databaseUrl: url })
  const { refusals } = await diagnose(reader, disabled)
  t.match(refusals, { withCredential: { reason: 'disabled', count: 1 }, withoutCredential: { count: 1 } })
})

// [SITE-21]
t.test('another Site, an unknown and a malformed client id get the same 404', async t => {
  const grantd = await startApp(t)
  const { clientId, path } = await grantd.register({}, 'umbrella')
  t.equal((await grantd.asAdmin('GET', `${path}/diagnosis`)).status, 200)
  const answers = await Promise.all(
    [clientId, 'a'.repeat(20), 'A'].map(id =>
      grantd.asAdmin('GET', `/v1/sites/acme/app-registrations/${id}/diagnosis`, { sites: ['acme'] })
    )
  )
  for (const { status, text } of answers) t.same([status, text], [404, answers[0]?.text])
})
