import { restart } from '../contestants/contestant.ts'
import { startGrantd } from '../contestants/grantd.ts'
import { measureFullLoad, type Sample } from '../measure.ts'
import type { Result } from '../report/report.ts'
import { formatSpread, markdownTable, tidy } from '../report/table.ts'
import { spread } from '../statistics.ts'
import type { RunOptions } from './run.ts'

/** Measures how long many clients take to get their first token after a restart. */
export async function measureCold(options: RunOptions): Promise<Result> {
  const { first, result } = await exchangeTwice(options)
  const seconds = secondsOf(first)
  return {
    ...result,
    title: 'Cold: every client once, right after a restart',
    targets: [
      { what: `${countOf(options)} clients served`, value: seconds, unit: 's', wanted: { most: 10 } },
      ...result.targets
    ]
  }
}

/** Measures the memory of a process that knows many clients. */
export async function measureMemory(options: RunOptions): Promise<Result> {
  const { second, result } = await exchangeTwice(options)
  const value = spread(second.map(({ residentMiB }) => residentMiB))
  return {
    ...result,
    title: 'Memory: many clients that a process knows',
    targets: [
      { what: `memory with ${countOf(options)} known clients`, value, unit: 'MiB', wanted: { most: 250 } },
      ...result.targets
    ]
  }
}

interface Exchanged {
  first: Sample[]
  second: Sample[]
  result: Omit<Result, 'title'>
}

/** Lets each client exchange once right after a restart, and then once more. */
async function exchangeTwice(options: RunOptions): Promise<Exchanged> {
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
  const failures = spread([failuresOf([...first, ...second])])
  const result: Omit<Result, 'title'> = {
    load: `${countOf(options)} clients on ${connections} connections. ${rounds} rounds.`,
    body: markdownTable(
      ['exchange', 'all served after s', 'server CPU µs', 'Postgres CPU µs', 'p50 ms', 'p99 ms', 'RSS MiB', 'failures'],
      [rowOf('the first of each client', first), rowOf('the second', second)]
    ),
    targets: [{ what: 'failures in all rounds', value: failures, unit: 'requests', wanted: { most: 0 } }],
    foreignShares: [...first, ...second].map(sample => sample.foreignShare)
  }
  return { first, second, result }
}

function rowOf(name: string, samples: readonly Sample[]): string[] {
  return [
    name,
    formatSpread(secondsOf(samples)),
    ...(['serverUs', 'postgresUs', 'p50', 'p99', 'residentMiB'] as const).map(member =>
      tidy(spread(samples.map(sample => sample[member])).median)
    ),
    String(failuresOf(samples))
  ]
}

function secondsOf(samples: readonly Sample[]) {
  return spread(samples.map(({ tokens, tokensPerSecond }) => tokens / tokensPerSecond))
}

function failuresOf(samples: readonly Sample[]): number {
  return samples.reduce((sum, { failures }) => sum + failures, 0)
}

function countOf({ clients }: RunOptions): string {
  return clients.toLocaleString('en')
}
