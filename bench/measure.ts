import { availableParallelism } from 'node:os'
import type { Contestant } from './contestants.ts'
import { closedLoop, type Load, openLoop } from './load.ts'
import { cpuOfMachine } from './machine.ts'
import { type BenchPostgres, countRows } from './postgres.ts'
import { percentile } from './statistics.ts'

/** What one contestant did in one round. CPU in microseconds per token, latencies in milliseconds. */
export interface Round {
  tokensPerSecond: number
  serverUs: number
  postgresUs: number
  generatorUs: number
  /** Of one core. */
  generatorShare: number
  /** What all other programs took, of the whole machine. */
  foreignShare: number
  rowsPerToken: number
  residentMiB: number
  failures: number
  half: Latencies
}

export interface Latencies {
  p50: number
  p99: number
  p999: number
  failures: number
}

export interface Effort {
  connections: number
  /** Of each kind of load. */
  seconds: number
}

/** Every client once, and then for so long that the code is compiled. */
export async function warmUp({ server, requests }: Contestant, connections: number, seconds: number): Promise<void> {
  await closedLoop(server.port, requests, { connections, seconds })
}

/** Full load in a closed loop, then half of that in an open one. */
export async function measureRound(contestant: Contestant, postgres: BenchPostgres, effort: Effort): Promise<Round> {
  const { server, requests, databaseUrl } = contestant
  const rows = async (): Promise<number> => (databaseUrl === undefined ? 0 : countRows(databaseUrl))
  const before = { rows: await rows(), machine: cpuOfMachine(), server: server.cpu(), postgres: postgres.cpu() }
  const full = await closedLoop(server.port, requests, effort)
  const after = { machine: cpuOfMachine(), server: server.cpu(), postgres: postgres.cpu(), rows: await rows() }
  const tokensPerSecond = full.answers / full.seconds
  const spent = { server: after.server - before.server, postgres: after.postgres - before.postgres }
  const foreign = after.machine - before.machine - spent.server - spent.postgres - full.generatorCpu
  return {
    tokensPerSecond,
    serverUs: spent.server / full.answers,
    postgresUs: databaseUrl === undefined ? 0 : spent.postgres / full.answers,
    generatorUs: full.generatorCpu / full.answers,
    generatorShare: full.generatorCpu / 1e6 / full.seconds,
    foreignShare: Math.max(0, foreign) / 1e6 / full.seconds / availableParallelism(),
    rowsPerToken: (after.rows - before.rows) / full.answers,
    residentMiB: server.residentMiB(),
    failures: full.failures,
    half: await measureLatencies(contestant, tokensPerSecond / 2, effort.seconds)
  }
}

/** Latencies at this rate, in an open loop. */
export async function measureLatencies(
  { server, requests }: Contestant,
  perSecond: number,
  seconds: number
): Promise<Latencies> {
  return latenciesOf(await openLoop(server.port, requests, { perSecond, seconds }))
}

export function latenciesOf({ latencies, failures }: Load): Latencies {
  return {
    p50: percentile(latencies, 0.5),
    p99: percentile(latencies, 0.99),
    p999: percentile(latencies, 0.999),
    failures
  }
}
