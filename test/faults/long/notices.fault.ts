import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { createDatabase, query, withClient } from '../../fixtures/app/database.ts'
import { DAY_MS } from '../../fixtures/app/registration.ts'
import { insertRegistrationRow } from '../../fixtures/app/registration-row.ts'
import { startWebhookReceiver } from '../../fixtures/peers/webhook-receiver.ts'
import { type Instance, startInstance } from '../../fixtures/run/instance.ts'
import { temporaryFolder } from '../../fixtures/run/process.ts'
import { until } from '../../fixtures/run/until.ts'

const HOUR_MS = 3_600_000
const STEPS = [30, 7, 0]
/**
 * Time moves by moving the data: all instants in the database come nearer by this much at once. Each server has its own
 * unchanged clock, timers and code. A sweep looks back for a day, so a slot is shorter than that.
 */
const SLOT_MS = 23 * HOUR_MS
const SLOTS = 42
const REGISTRATIONS = 60
/** Every third slot: 14 kills, of either server in turn. */
const SLOTS_PER_KILL = 3

interface Registration {
  clientId: string
  /** Milliseconds of moved time, like `armedAt`. */
  expiresAt: number
  armedAt: number
}

/** Expiries whose steps all lie in the middle of a slot, hours away from its ends. */
function expiryIn(slots: number): number {
  return slots * SLOT_MS + 15 * HOUR_MS
}

/** Moves all instants of the cadence, as if this much time had passed. */
async function passTime(databaseUrl: string, ms: number): Promise<void> {
  const by = `- interval '${ms} milliseconds'`
  const move = () =>
    withClient(databaseUrl, client =>
      client.query(`
        begin;
        lock table registrations, notices, notice_deliveries in share row exclusive mode;
        update registrations set expires_at = expires_at ${by}, expiry_set_at = expiry_set_at ${by};
        update notices set expires_at = expires_at ${by}, fired_at = fired_at ${by};
        update notice_deliveries set due_at = due_at ${by};
        commit`)
    )
  // A server may be in the middle of a sweep, and Postgres ends one of the two.
  await until('time has passed', () => move().then(() => true, isDeadlock))
}

function isDeadlock(error: unknown): false {
  if (Object(error).code !== '40P01') throw error
  return false
}

/** The steps of this registration that come due between these instants. */
function stepsBetween({ expiresAt, armedAt }: Registration, from: number, to: number): number[] {
  return STEPS.filter(step => {
    const at = expiresAt - step * DAY_MS
    return at > from && at <= to && at > armedAt
  })
}

async function firedKeys(databaseUrl: string): Promise<string[]> {
  const rows = await query(databaseUrl, 'select client_id, step from notices')
  return rows.map(Object).map(({ client_id, step }) => `${client_id} ${step}`)
}

// [FAULT-22]
t.test(
  'two servers on one cadence, killed in turn for 40 days: each step fires exactly once and none is missed',
  async t => {
    const databaseUrl = await createDatabase(t)
    const receiver = await startWebhookReceiver(t, response => {
      setTimeout(() => response.writeHead(204).end(), Math.random() * 20)
    })
    const servers = await startServers(t, databaseUrl, receiver.url)
    const registrations: Registration[] = []
    for (let index = 0; index < REGISTRATIONS; index++) {
      const expiresAt = expiryIn(index + 1)
      const row = { expiresAt: Date.now() + expiresAt, armedAt: Date.now() - 1_000 }
      registrations.push({ clientId: (await insertRegistrationRow(databaseUrl, row)).clientId, expiresAt, armedAt: 0 })
    }

    const expected: string[] = []
    /** Clients that were renewed or deleted: their deliveries may have been cancelled. */
    const changed = new Set<string>()
    let killing = Promise.resolve()
    let kills = 0
    for (let slot = 1; slot <= SLOTS; slot++) {
      await passTime(databaseUrl, SLOT_MS)
      if (slot % SLOTS_PER_KILL === 0) {
        await killing
        killing = servers.kill(kills++ % 2)
      }
      for (const registration of registrations) {
        const steps = stepsBetween(registration, (slot - 1) * SLOT_MS, slot * SLOT_MS)
        expected.push(...steps.map(step => `${registration.clientId} ${step}`))
      }
      await until(`slot ${slot} has fired`, async () => (await firedKeys(databaseUrl)).length >= expected.length)
      if (slot % 5 === 0) await change(slot)
    }
    await killing

    // A server that was killed has leased deliveries for a minute.
    await passTime(databaseUrl, 61_000)
    await until('nothing is pending', async () => {
      const rows = await query(
        databaseUrl,
        `select from notice_deliveries d join notices n on n.id = d.notice_id join registrations r
           on r.client_id = n.client_id and r.expires_at = n.expires_at where d.state = 'pending'`
      )
      return rows.length === 0
    })
    t.same((await firedKeys(databaseUrl)).sort(), expected.sort(), 'each fired once')
    t.ok(expected.length > 60 && kills === 14, `${expected.length} notices, ${kills} kills`)
    const idsByKey = Map.groupBy(receiver.received, ({ event }) => `${event.data.clientId} ${event.data.step}`)
    t.same(
      expected.filter(key => !idsByKey.has(key)).filter(key => !changed.has(key.split(' ')[0] ?? '')),
      [],
      'each was delivered'
    )
    const ids = new Set(receiver.received.map(({ headers }) => headers['webhook-id']))
    // A renewed registration comes to a step again, with another notice.
    const surplus = [...idsByKey].filter(
      ([key, received]) =>
        new Set(received.map(({ headers }) => headers['webhook-id'])).size >
        expected.filter(other => other === key).length
    )
    t.same(surplus, [], 'nothing else was delivered, and a repetition has the event id of the first')
    t.comment(`${expected.length} notices; ${receiver.received.length - ids.size} repetitions after ${kills} kills`)

    /** Renews one registration and deletes another, over HTTP. */
    async function change(slot: number): Promise<void> {
      const grantd = await servers.any()
      const [renewed, deleted] = [registrations[slot], registrations.splice(slot + 7, 1)[0]]
      if (renewed === undefined || deleted === undefined) return
      const expiresAt = expiryIn(slot + 10)
      const body = { expiresAt: new Date(Date.now() + expiresAt - slot * SLOT_MS).toISOString() }
      const path = (clientId: string) => `/v1/sites/acme/app-registrations/${clientId}`
      const patched = await grantd.asAdmin('PATCH', path(renewed.clientId), { body })
      const removed = await grantd.asAdmin('DELETE', path(deleted.clientId))
      t.same([patched.status, removed.status], [200, 204])
      Object.assign(renewed, { expiresAt, armedAt: slot * SLOT_MS })
      changed.add(renewed.clientId).add(deleted.clientId)
    }
  }
)

async function startServers(t: Test, databaseUrl: string, receiverUrl: string) {
  const environment = {
    DATA_DIR: temporaryFolder(t),
    LOG_LEVEL: 'error',
    NOTICE_INTERVAL_SECONDS: '1',
    NOTICE_WEBHOOK_URL: receiverUrl,
    NOTICE_WEBHOOK_SECRET: `whsec_${Buffer.alloc(32, 1).toString('base64')}`,
    NOTICE_WEBHOOK_ALLOW: '127.0.0.1'
  }
  // One after the other: they share the keys in the folder.
  const servers: Instance[] = []
  for (const _ of [1, 2]) servers.push(await startInstance(t, databaseUrl, environment))
  let isDown: Instance | undefined
  return {
    /** Kills a server at any moment of its work, and starts it again. */
    async kill(index: number): Promise<void> {
      const server = servers[index]
      if (server === undefined) throw new Error(`no server ${index}`)
      isDown = server
      await sleep(Math.random() * 400)
      server.server.child.kill('SIGKILL')
      await server.server.exited
      const { port } = new URL(server.server.baseUrl)
      servers[index] = await startInstance(t, databaseUrl, { ...environment, PORT: port })
      isDown = undefined
    },
    /** Returns a server that is not being killed. */
    async any() {
      const server = servers.find(candidate => candidate !== isDown)
      if (server === undefined) throw new Error('no server is up')
      return server.grantd
    }
  }
}
