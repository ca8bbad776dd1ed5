import { createClientSecret } from '../src/credentials/secret.ts'
import { tokenRequest } from './connection.ts'
import { randomIds, startGrantd } from './contestants.ts'
import { openLoop } from './load.ts'
import type { Machine } from './machine.ts'
import { type Latencies, latenciesOf, warmUp } from './measure.ts'
import { startPostgres } from './postgres.ts'
import { pairwiseRatio, spread } from './statistics.ts'
import { formatSpread, machineLine, markdownTable } from './table.ts'

export interface FloodOptions {
  rounds: number
  seconds: number
  clients: number
  environment: Record<string, string>
  machine: Machine
  say: (line: string) => unknown
}

const WARM_PER_SECOND = 500
const WRONG_PER_SECOND = 200
const WRONG_SECRETS = 2_000
/** Loopback addresses that the flood comes from: one alone would be told to slow down. */
const SOURCES = Array.from({ length: 200 }, (_, index) => `127.0.0.${index + 2}`)

/** Latency of warm clients, idle and beside a flood of wrong secrets, in interleaved rounds. */
export async function measureFlood(options: FloodOptions): Promise<string> {
  const { rounds, seconds, clients, environment, machine, say } = options
  const postgres = await startPostgres()
  const grantd = await startGrantd('grantd', postgres, { clients, environment })
  const { port } = grantd.server
  const warm = (): Promise<Latencies> =>
    openLoop(port, grantd.requests, { perSecond: WARM_PER_SECOND, seconds }).then(latenciesOf)
  const idle: Latencies[] = []
  const flooded: Latencies[] = []
  const refusals = new Map<number, number>()
  try {
    await warmUp(grantd, 32, 4)
    for (let round = 0; round < rounds; round++) {
      say(`round ${round + 1} of ${rounds}`)
      idle.push(await warm())
      // Latency of the flood is nobody's concern; each of its answers is a refusal.
      const flood = openLoop(port, wrongRequests(grantd.requests), {
        perSecond: WRONG_PER_SECOND,
        seconds,
        localAddresses: SOURCES
      })
      flooded.push(await warm())
      for (const [status, count] of (await flood).statuses) refusals.set(status, (refusals.get(status) ?? 0) + count)
    }
  } finally {
    await grantd.server.stop()
    await postgres.stop()
  }
  return report(idle, flooded, refusals, machineLine(machine, postgres.version))
}

/** Well-formed secrets that are wrong, half of them for clients that exist. */
function wrongRequests(known: readonly Buffer[]): Buffer[] {
  const strangers = randomIds(WRONG_SECRETS / 2)
  const victims = known.map(request => /client_id=(\w+)/.exec(request.toString())?.[1] ?? '')
  return Array.from({ length: WRONG_SECRETS }, (_, index) => {
    const ids = index % 2 === 0 ? strangers : victims
    return tokenRequest('/oauth/token', ids[(index >> 1) % ids.length] ?? '', createClientSecret('grantd_'))
  })
}

function report(
  idle: readonly Latencies[],
  flooded: readonly Latencies[],
  refusals: ReadonlyMap<number, number>,
  machine: string
): string {
  const row = (name: string, runs: readonly Latencies[]): string[] => [
    name,
    ...(['p50', 'p99', 'p999'] as const).map(member => spread(runs.map(run => run[member])).median.toFixed(2)),
    String(runs.reduce((sum, { failures }) => sum + failures, 0))
  ]
  const ratios = (['p50', 'p99', 'p999'] as const).map(member =>
    formatSpread(
      pairwiseRatio(
        flooded.map(run => run[member]),
        idle.map(run => run[member])
      )
    )
  )
  const counts = [...refusals].map(([status, count]) => `${status || 'not at all'} ${count} times`)
  return [
    machine,
    '',
    markdownTable(
      [`${WARM_PER_SECOND} exchanges a second of warm clients`, 'p50 ms', 'p99 ms', 'p99.9 ms', 'failures'],
      [row('idle', idle), row(`beside ${WRONG_PER_SECOND} wrong secrets a second`, flooded), ['ratio', ...ratios, '']]
    ),
    '',
    `Wrong secrets, from ${SOURCES.length} sources, were answered ${counts.join(', ')}. ` +
      'Target: p99 at most twice that of idle, no failure.'
  ].join('\n')
}
