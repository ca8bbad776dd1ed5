import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { type Load, openLoop } from '../../../bench/generator/load.ts'
import { createClientSecret } from '../../../src/credentials/secret.ts'
import { createDatabase } from '../../fixtures/app/database.ts'
import type { Grantd } from '../../fixtures/app/grantd.ts'
import { requestBytes } from '../../fixtures/app/raw-http.ts'
import type { Client } from '../../fixtures/faults/traffic.ts'
import { startInstance } from '../../fixtures/run/instance.ts'
import { temporaryFolder } from '../../fixtures/run/process.ts'

const WRONG_PER_SECOND = 2_000
const SECONDS = 20
/** Clients that exchange for the first time, each second. */
const COLD_PER_SECOND = 50
const COLD = COLD_PER_SECOND * SECONDS
/** An exchange in the flood may take this many times as long as on an idle service, at the median. The generator shares the machine. */
const MAX_RATIO = 4
const FORM = { 'Content-Type': 'application/x-www-form-urlencoded' }

function tokenRequest({ clientId, clientSecret }: Client): Buffer {
  const body = `grant_type=client_credentials&client_id=${clientId}&client_secret=${clientSecret}`
  return requestBytes('/oauth/token', FORM, Buffer.from(body))
}

/** Returns the status and the milliseconds of each first exchange. They come evenly spread over a second. */
async function exchangeFirst(grantd: Grantd, clients: readonly Client[]): Promise<{ status: number; ms: number }[]> {
  const started = performance.now()
  return Promise.all(
    clients.map(async (client, index) => {
      await sleep(Math.max(0, started + (index * 1_000) / COLD_PER_SECOND - performance.now()))
      const sentAt = performance.now()
      const { status } = await grantd.exchange(client)
      return { status, ms: performance.now() - sentAt }
    })
  )
}

// [LOAD-12]
t.test(
  '2,000 wrong secrets a second from one address, right after a restart: all of 1,000 cold clients get a token, and quickly',
  async t => {
    const [databaseUrl, environment] = [await createDatabase(t), { DATA_DIR: temporaryFolder(t), LOG_LEVEL: 'fatal' }]
    const first = await startInstance(t, databaseUrl, environment)
    const clients: Client[] = []
    while (clients.length < COLD + 2 * COLD_PER_SECOND) {
      const site = `site-${Math.floor(clients.length / 100)}`
      clients.push(...(await Promise.all(Array.from({ length: 10 }, () => first.grantd.register({}, site)))))
    }
    await first.grantd.close()
    const { grantd } = await startInstance(t, databaseUrl, environment)

    const idle = await exchangeFirst(grantd, clients.splice(0, 2 * COLD_PER_SECOND))
    const known = clients.map(({ clientId }) => clientId)
    const wrong = Array.from({ length: WRONG_PER_SECOND }, (_, index) =>
      // Half of them for clients that exist.
      tokenRequest({
        clientId: (index % 2 === 0 ? known[index % known.length] : undefined) ?? String(index).padStart(20, '0'),
        clientSecret: createClientSecret('grantd_')
      })
    )
    const flood = openLoop([Number(new URL(grantd.baseUrl).port)], wrong, {
      perSecond: WRONG_PER_SECOND,
      seconds: SECONDS
    })
    const cold = await exchangeFirst(grantd, clients)
    const { statuses }: Load = await flood

    t.same(
      cold.filter(({ status }) => status !== 200),
      []
    )
    t.equal(cold.length, COLD)
    t.same(
      [...statuses.keys()].filter(status => ![401, 429].includes(status)),
      []
    )
    const [calm = 0, flooded = 0] = [idle, cold].map(median)
    t.ok(flooded <= MAX_RATIO * calm, `${flooded.toFixed(1)} ms against ${calm.toFixed(1)} ms`)
    t.comment(
      `${cold.length} of ${COLD} cold clients served, p50 ${flooded.toFixed(1)} ms (idle ${calm.toFixed(1)} ms), the slowest ` +
        `${Math.round(Math.max(...cold.map(({ ms }) => ms)))} ms; the flood: ${JSON.stringify([...statuses])}`
    )
  }
)

function median(exchanges: readonly { ms: number }[]): number {
  return exchanges.map(({ ms }) => ms).sort((a, b) => a - b)[exchanges.length >> 1] ?? 0
}
