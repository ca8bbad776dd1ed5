import { availableParallelism } from 'node:os'
import { type Contestant, restart } from './contestants/contestant.ts'
import type { BenchPostgres } from './contestants/postgres.ts'
import { closedLoop, type Load, openLoop } from './generator/load.ts'
import { machineCpu, since } from './machine.ts'
import { percentile } from './statistics.ts'

/** One stretch of load on one contestant. CPU in microseconds per token, latencies in milliseconds. */
export interface Sample {
  tokens: number
  tokensPerSecond: number
  serverUs: number
  postgresUs: number
  /** Bytes of write-ahead log for each token. */
  walBytes: number
  generatorUs: number
  /** Cores that the generator took. */
  generatorCores: number
  /** Cores that did nothing. */
  idleCores: number
  /** Share of the machine that all other programs took. */
  foreignShare: number
  p50: number
  p99: number
  p999: number
  failures: number
  /** After the load. */
  residentMiB: number
}

/** Measures a contestant under full load: each connection always has one request in progress. */
export function measureFullLoad(
  contestant: Contestant,
  postgres: BenchPostgres,
  effort: { connections: number; seconds: number }
): Promise<Sample> {
  return measure(contestant, postgres, () => closedLoop(contestant.server.ports, contestant.requests, effort))
}

/** Measures a contestant at a rate, in an open loop. */
export function measureAtRate(
  contestant: Contestant,
  postgres: BenchPostgres,
  effort: { perSecond: number; seconds: number }
): Promise<Sample> {
  return measure(contestant, postgres, () => openLoop(contestant.server.ports, contestant.requests, effort))
}

/** Measures a contestant under a load. One that is restarted is started before it and stopped after it. */
export async function measure(
  contestant: Contestant,
  postgres: BenchPostgres,
  run: () => Promise<Load>
): Promise<Sample> {
  if (contestant.isRestarted) await restart(contestant)
  const { server, databaseUrl } = contestant
  const walBefore = await postgres.walBytes()
  const before = { machine: machineCpu(), server: server.cpu(), postgres: postgres.cpu() }
  const load = await run()
  const { busyUs, idleUs } = since(before.machine)
  const serverCpu = server.cpu() - before.server
  const postgresCpu = postgres.cpu() - before.postgres
  const walBytes = (await postgres.walBytes()) - walBefore
  const foreign = Math.max(0, busyUs - serverCpu - postgresCpu - load.generatorCpu)
  const residentMiB = server.residentMiB()
  if (contestant.isRestarted) await server.stop()
  return {
    tokens: load.answers,
    tokensPerSecond: load.answers / load.seconds,
    serverUs: serverCpu / load.answers,
    postgresUs: databaseUrl === undefined ? 0 : postgresCpu / load.answers,
    walBytes: databaseUrl === undefined ? 0 : walBytes / load.answers,
    generatorUs: load.generatorCpu / load.answers,
    generatorCores: load.generatorCpu / 1e6 / load.seconds,
    idleCores: (availableParallelism() * idleUs) / (busyUs + idleUs),
    foreignShare: foreign / (busyUs + idleUs),
    ...latenciesOf(load),
    failures: load.failures,
    residentMiB
  }
}

function latenciesOf({ latencies }: Load): Pick<Sample, 'p50' | 'p99' | 'p999'> {
  return {
    p50: percentile(latencies, 0.5),
    p99: percentile(latencies, 0.99),
    p999: percentile(latencies, 0.999)
  }
}

/** Every client exchanges once; then the load goes on until the code is compiled. */
export async function warmUp({ server, requests }: Contestant, connections: number, seconds: number): Promise<void> {
  await closedLoop(server.ports, requests, { connections, seconds })
}
