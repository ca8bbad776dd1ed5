import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { createClientSecret } from '../../../src/credentials/secret.ts'
import { Registry } from '../../../src/metrics/registry.ts'
import { startApp } from '../../fixtures/app/app.ts'
import type { Answer } from '../../fixtures/app/grantd.ts'

const PER_SECOND = 200
const SECONDS = 8
/** Sources of the flood that the limiter hardly sees. Each knows every id. */
const SOURCES = 250
const FAILURE_LIMIT = 5
/** Each exchanges once, for the first time, in the course of the flood. */
const COLD_CLIENTS = 50
/** Exchanges of the warm client before the flood, which its latency is compared with. */
const IDLE_EXCHANGES = 100
/** Median of the warm client in the flood, as a multiple of the median before. The flood comes from the same process. */
const MAX_RATIO = 4
/** On a machine that does not keep up the flood gets thinner, and the test's own sockets are not cut. */
const MAX_UNDER_WAY = 400

// [LOAD-1]
t.test('200 wrong secrets a second from many sources disturb neither a warm client nor cold ones', async t => {
  const metrics = new Registry()
  const grantd = await startApp(t, {
    metrics,
    environment: { TRUSTED_PROXIES: '127.0.0.1', TOKEN_FAILURE_LIMIT: String(FAILURE_LIMIT) }
  })
  const [warm, victim] = [await grantd.register(), await grantd.register()]
  const cold: { clientId: string; clientSecret: string }[] = []
  for (let index = 0; index < COLD_CLIENTS; index++) cold.push(await grantd.register())
  t.equal((await grantd.exchange(warm)).status, 200)
  const ids = [warm.clientId, victim.clientId, ...Array.from({ length: 8 }, (_, index) => String(index).repeat(20))]
  const secrets = Array.from({ length: 500 }, () => createClientSecret('grantd_'))

  const idle: number[] = []
  while (idle.length < IDLE_EXCHANGES) {
    const sentAt = performance.now()
    await grantd.exchange(warm)
    idle.push(performance.now() - sentAt)
  }

  const flood: Promise<Answer>[] = []
  const latencies: number[] = []
  const refused: Answer[] = []
  let exchanges = 0
  let underWay = 0
  const started = performance.now()
  const exchangeOn = async (): Promise<void> => {
    while (performance.now() - started < SECONDS * 1_000) {
      const sentAt = performance.now()
      const answer = await grantd.exchange(warm)
      latencies.push(performance.now() - sentAt)
      if (answer.status !== 200) refused.push(answer)
      exchanges++
      await sleep(20)
    }
  }
  const attack = async (): Promise<void> => {
    for (let sent = 0; sent < PER_SECOND * SECONDS; await sleep(5)) {
      for (const due = ((performance.now() - started) * PER_SECOND) / 1_000; sent < due; sent++) {
        if (underWay >= MAX_UNDER_WAY) continue
        underWay++
        // Half come from one network, which the limiter is for.
        const source = sent % 2 === 0 ? `198.51.100.${sent % 3}` : `10.0.0.${sent % SOURCES}`
        flood.push(
          grantd
            .requestToken(
              { client_id: ids[sent % ids.length] ?? '', client_secret: secrets[sent % secrets.length] ?? '' },
              { 'x-forwarded-for': source }
            )
            .finally(() => underWay--)
        )
      }
    }
  }
  const exchangeCold = async (): Promise<void> => {
    for (const client of cold) {
      await sleep((SECONDS * 900) / COLD_CLIENTS)
      const answer = await grantd.exchange(client)
      if (answer.status !== 200) refused.push(answer)
    }
  }
  await Promise.all([exchangeOn(), exchangeCold(), attack()])
  const answers = await Promise.all(flood)

  t.same(refused, [], `${exchanges} exchanges of the warm client and ${COLD_CLIENTS} of cold ones`)
  t.ok(exchanges > SECONDS)
  const statuses = new Map<number, number>()
  for (const { status, headers } of answers) {
    statuses.set(status, (statuses.get(status) ?? 0) + 1)
    if (status === 429) t.match(headers['retry-after'], /^[1-9]\d*$/)
  }
  t.same(
    [...statuses.keys()].filter(status => ![401, 429].includes(status)),
    []
  )
  t.ok((statuses.get(429) ?? 0) > 0, 'the limiter holds')
  const entries = (await metrics.read()).find(({ name }) => name === 'grantd_failure_limiter_entries')?.samples['']
  t.ok(entries !== undefined && entries > 0 && entries <= (SOURCES + 3) * ids.length, `${entries} entries`)
  const [calm, flooded] = [at(idle, 0.5), at(latencies, 0.5)]
  t.ok(flooded <= MAX_RATIO * calm, `p50 ${flooded} ms in the flood, ${calm} ms before`)
  t.comment(
    `warm: p50 ${flooded.toFixed(1)} ms (${calm.toFixed(1)} ms before), p99 ${at(latencies, 0.99).toFixed(1)} ms of ${exchanges}; ` +
      `flood: ${JSON.stringify([...statuses])}`
  )
  t.equal((await grantd.exchange(victim)).status, 200, 'the right secret still works')
})

/** Returns the value below which this share of the times is. */
function at(times: readonly number[], share: number): number {
  return times.toSorted((a, b) => a - b)[Math.floor(times.length * share)] ?? Number.POSITIVE_INFINITY
}
