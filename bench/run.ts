import os from 'node:os'
import { parseArgs } from 'node:util'
import { type Contestant, startCeiling, startGrantd } from './contestants.ts'
import { closedLoop, openLoop, percentile } from './load.ts'

/** `npm run bench`: grantd beside the ceilings of its stack, in interleaved rounds; medians, and ratios to read. */

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '3' },
    seconds: { type: 'string', default: '5' },
    clients: { type: 'string', default: '200' },
    connections: { type: 'string', default: '32' }
  }
})
const clients = Number(values.clients)
const seconds = Number(values.seconds)
const connections = Number(values.connections)

interface Round {
  tokensPerSecond: number
  serverUs: number
  postgresUs: number
  p50: number
  p99: number
  p999: number
  residentMiB: number
  failures: number
}

const contestants = [
  await startCeiling('Fastify, static answer', 'static', clients),
  await startCeiling('Fastify + form + one ES256 signature', 'sign', clients),
  await startGrantd('grantd', clients)
]
const rounds = new Map<Contestant, Round[]>(contestants.map(contestant => [contestant, []]))
try {
  for (const contestant of contestants)
    await closedLoop(contestant.port, contestant.requests, { connections, seconds: 3 })
  for (let round = 0; round < Number(values.rounds); round++) {
    for (const contestant of contestants) rounds.get(contestant)?.push(await measure(contestant))
  }
  report()
} finally {
  for (const contestant of contestants) await contestant.stop()
}

async function measure(contestant: Contestant): Promise<Round> {
  const { port, requests, serverCpu, postgresCpu, residentMiB } = contestant
  const before = [serverCpu(), postgresCpu()] as const
  const full = await closedLoop(port, requests, { connections, seconds })
  const after = [serverCpu(), postgresCpu()] as const
  const half = await openLoop(port, requests, { perSecond: full.answers / full.seconds / 2, seconds })
  return {
    tokensPerSecond: full.answers / full.seconds,
    serverUs: (after[0] - before[0]) / full.answers,
    postgresUs: (after[1] - before[1]) / full.answers,
    p50: percentile(half, 0.5),
    p99: percentile(half, 0.99),
    p999: percentile(half, 0.999),
    residentMiB: residentMiB(),
    failures: full.failures + half.failures
  }
}

function report(): void {
  const median = (numbers: number[]): number =>
    numbers.sort((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? Number.NaN
  const rows = contestants.map(contestant => {
    const of = (member: keyof Round) => median((rounds.get(contestant) ?? []).map(round => round[member]))
    return { name: contestant.name, of }
  })
  const ceiling = rows[1]
  const [cpu] = os.cpus()
  const print = (line: string) => process.stdout.write(`${line}\n`)
  print(
    `${cpu?.model}, ${os.cpus().length} cores, Node ${process.version}; ${clients} clients, ${connections} connections, medians of ${values.rounds} rounds of ${seconds} s\n`
  )
  print(
    '| | tokens/s | of the ceiling | server CPU µs | of the ceiling | Postgres CPU µs | p50 ms ¹ | p99 ms ¹ | p99.9 ms ¹ | RSS MiB | failures |'
  )
  print('|---|---|---|---|---|---|---|---|---|---|---|')
  for (const { name, of } of rows) {
    const share = (member: 'tokensPerSecond' | 'serverUs') => (of(member) / (ceiling?.of(member) ?? 1)).toFixed(2)
    print(
      `| ${name} | ${Math.round(of('tokensPerSecond'))} | ${share('tokensPerSecond')} | ${of('serverUs').toFixed(0)} | ${share('serverUs')} | ` +
        `${of('postgresUs').toFixed(0)} | ${of('p50').toFixed(2)} | ${of('p99').toFixed(2)} | ${of('p999').toFixed(2)} | ` +
        `${Math.round(of('residentMiB'))} | ${of('failures')} |`
    )
  }
  print('\n¹ at half of its own full load, open loop')
}
