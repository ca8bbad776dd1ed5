import { restart } from '../contestants/contestant.ts'
import { startGrantd } from '../contestants/grantd.ts'
import { measureFullLoad, type Sample } from '../measure.ts'
import type { Result } from '../report/report.ts'
import { formatSpread, markdownTable, tidy } from '../report/table.ts'
import { spread } from '../statistics.ts'
import type { RunOptions } from './run.ts'

/** Measures how long many clients take to get their first token after a restart, each once, and then a second one. */
export async function measureCold(options: RunOptions): Promise<Result> {
  const { rounds, connections, clients, environment, say, postgres } = options
  const once = { connections, seconds: 0 }
  say(`registering ${clients} clients`)
  // One more client shows that grantd is up, so that all others are cold.
  const grantd = await startGrantd('grantd', postgres, { clients: clients + 1, environment })
  const probe = grantd.requests.pop()
  const first: Sample[] = []
  const second: Sample[] = []
  for (let round = 0; round < rounds; round++) {
    say(`round ${round + 1} of ${rounds}`)
    await restart(grantd, probe)
    first.push(await measureFullLoad(grantd, postgres, once))
    second.push(await measureFullLoad(grantd, postgres, once))
  }
  const secondsOf = (samples: readonly Sample[]) =>
    spread(samples.map(({ tokens, tokensPerSecond }) => tokens / tokensPerSecond))
  const failuresOf = (samples: readonly Sample[]): number => samples.reduce((sum, { failures }) => sum + failures, 0)
  const row = (name: string, samples: readonly Sample[]): string[] => [
    name,
    formatSpread(secondsOf(samples)),
    ...(['serverUs', 'postgresUs', 'p50', 'p99', 'residentMiB'] as const).map(member =>
      tidy(spread(samples.map(sample => sample[member])).median)
    ),
    String(failuresOf(samples))
  ]
  return {
    title: 'Cold: every client once, right after a restart',
    load: `${clients.toLocaleString('en')} clients on ${connections} connections. ${rounds} rounds.`,
    body: markdownTable(
      ['exchange', 'all served after s', 'server CPU µs', 'Postgres CPU µs', 'p50 ms', 'p99 ms', 'RSS MiB', 'failures'],
      [row('the first of each client', first), row('the second', second)]
    ),
    targets: [
      {
        what: `${clients.toLocaleString('en')} clients served`,
        value: secondsOf(first),
        unit: 's',
        wanted: { most: 10 }
      },
      { what: 'failures in all rounds', value: spread([failuresOf(first)]), unit: 'requests', wanted: { most: 0 } },
      {
        what: `memory with ${clients.toLocaleString('en')} known clients`,
        value: spread(second.map(({ residentMiB }) => residentMiB)),
        unit: 'MiB',
        wanted: { most: 250 }
      }
    ],
    foreignShares: [...first, ...second].map(sample => sample.foreignShare)
  }
}
