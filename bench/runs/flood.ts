import { randomIds, restart } from '../contestants/contestant.ts'
import { type Client, requestsOf, startGrantd } from '../contestants/grantd.ts'
import { type Load, openLoop } from '../generator/load.ts'
import { measureAtRate, type Sample } from '../measure.ts'
import type { Result } from '../report/report.ts'
import { formatSpread, markdownTable, tidy } from '../report/table.ts'
import { pairwiseRatio, spread } from '../statistics.ts'
import type { RunOptions } from './run.ts'

const WRONG_PER_SECOND = 2_000
/** More than a cache of refusals would hold for one source. */
const WRONG_SECRETS = 20_000
const FLOOD_ADDRESS = '127.0.0.2'

/**
 * Measures cold clients right after a restart, once without and once with a flood of wrong secrets from one address, in
 * interleaved rounds. Each client exchanges once a second.
 */
export async function measureFlood(options: RunOptions): Promise<Result> {
  const { rounds, seconds, clients, environment, say, postgres } = options
  // One more client shows that grantd is up, so that all others are cold.
  const grantd = await startGrantd('grantd', postgres, { clients: clients + 1, environment })
  const probe = grantd.requests.pop()
  const wrong = wrongRequests(grantd.clients)
  const measureClients = (): Promise<Sample> => measureAtRate(grantd, postgres, { perSecond: clients, seconds })
  const flood = (): Promise<Load> =>
    openLoop(grantd.server.ports, wrong, {
      perSecond: WRONG_PER_SECOND,
      seconds,
      localAddresses: [FLOOD_ADDRESS]
    })
  const idle: Sample[] = []
  const flooded: Sample[] = []
  const refusals = new Map<number, number>()
  for (let round = 0; round < rounds; round++) {
    say(`round ${round + 1} of ${rounds}`)
    await restart(grantd, probe)
    idle.push(await measureClients())
    await restart(grantd, probe)
    const [sample, { statuses }] = await Promise.all([measureClients(), flood()])
    flooded.push(sample)
    for (const [status, count] of statuses) refusals.set(status, (refusals.get(status) ?? 0) + count)
  }
  return {
    ...reportFlood(idle, flooded, refusals),
    load: `${clients} clients, each with one request a second. ${rounds} rounds of ${seconds} s.`,
    foreignShares: [...idle, ...flooded].map(sample => sample.foreignShare)
  }
}

/** Returns well-formed secrets that are wrong: other clients' secrets, half of them for clients that exist. */
function wrongRequests(clients: readonly Client[]): Buffer[] {
  const strangers = randomIds(WRONG_SECRETS)
  return requestsOf(
    strangers.map((stranger, index) => ({
      clientId: index % 2 === 0 ? stranger : (clients[index % clients.length]?.clientId ?? ''),
      clientSecret: clients[(index + 1) % clients.length]?.clientSecret ?? ''
    }))
  )
}

function reportFlood(
  idle: readonly Sample[],
  flooded: readonly Sample[],
  refusals: ReadonlyMap<number, number>
): Pick<Result, 'title' | 'body' | 'targets'> {
  const members = ['p50', 'p99'] as const
  const row = (name: string, samples: readonly Sample[]): string[] => [
    name,
    ...members.map(member => tidy(spread(samples.map(sample => sample[member])).median)),
    String(samples.reduce((sum, { failures }) => sum + failures, 0))
  ]
  const ratioOf = (member: (typeof members)[number]) =>
    pairwiseRatio(
      flooded.map(sample => sample[member]),
      idle.map(sample => sample[member])
    )
  const counts = [...refusals].map(([status, count]) =>
    status === 0 ? `${count} not at all` : `${count} with ${status}`
  )
  return {
    title: 'Flood: cold clients beside wrong secrets from one address',
    body: [
      markdownTable(
        ['right after a restart', 'p50 ms', 'p99 ms', 'failures'],
        [
          row('only the clients', idle),
          row(`beside ${WRONG_PER_SECOND} wrong secrets a second`, flooded),
          ['ratio', ...members.map(member => formatSpread(ratioOf(member))), '']
        ]
      ),
      `The wrong secrets were answered: ${counts.join(', ')}.`
    ].join('\n\n'),
    targets: [
      { what: "a client's p99 beside the flood against idle", value: ratioOf('p99'), unit: '×', wanted: { most: 2 } },
      {
        what: 'failures of clients beside the flood, in all rounds',
        value: spread([flooded.reduce((sum, { failures }) => sum + failures, 0)]),
        unit: 'requests',
        wanted: { most: 0 }
      }
    ]
  }
}
