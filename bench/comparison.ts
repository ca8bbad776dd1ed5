import { admit } from './admission.ts'
import { type Contestant, startCeiling, startGrantd } from './contestants.ts'
import { type Latencies, measureLatencies, measureRound, type Round, warmUp } from './measure.ts'
import { measureNpmStart } from './npm-start.ts'
import { installPeers, startPeers } from './peers.ts'
import { type BenchPostgres, startPostgres } from './postgres.ts'
import { coldStart } from './processes.ts'
import { spread } from './statistics.ts'

export interface ComparisonOptions {
  /** Otherwise beside the ceilings only. */
  withPeers: boolean
  rounds: number
  /** Of each kind of load, per contestant and round. */
  seconds: number
  clients: number
  connections: number
  /** More of it for grantd. */
  environment: Record<string, string>
  /** Says what is going on. */
  say: (line: string) => unknown
}

/** What one contestant came to. */
export interface Standing {
  name: string
  kind: 'static' | 'ceiling' | 'grantd' | 'peer'
  rounds: Round[]
  /** At half of grantd's full load, whatever its own is; of the ceiling, one a round. */
  atGrantdsHalf: Latencies[]
  /** Spawn to first token, milliseconds. */
  coldStartMs: number
}

export interface Comparison {
  standings: Standing[]
  /** The second `npm start` in a folder, to the first token, milliseconds. */
  npmStartMs: number
  postgresVersion: string
}

interface Entry {
  contestant: Contestant
  standing: Standing
}

/** grantd, its peers and the ceilings of its stack, in interleaved rounds. */
export async function compare(options: ComparisonOptions): Promise<Comparison> {
  const { withPeers, rounds, seconds, connections, say } = options
  if (withPeers) {
    say('installing the peers')
    installPeers()
  }
  const npmStartMs = await measureNpmStart()
  const postgres = await startPostgres()
  const entries: Entry[] = []
  try {
    for await (const entry of enterAll(options, postgres)) entries.push(entry)
    for (const entry of entries) await prepare(entry, options)
    for (let round = 0; round < rounds; round++) {
      say(`round ${round + 1} of ${rounds}`)
      // Each begins a round in its turn: what one leaves behind isn't always met by the same other.
      for (const { contestant, standing } of [...entries.slice(round), ...entries.slice(0, round)]) {
        standing.rounds.push(await measureRound(contestant, postgres, { connections, seconds }))
      }
      await measureCeilingAtGrantdsHalf(entries, round, seconds)
    }
  } finally {
    for (const { contestant } of entries) await contestant.server.stop()
    await postgres.stop()
  }
  return { standings: entries.map(({ standing }) => standing), npmStartMs, postgresVersion: postgres.version }
}

async function* enterAll(
  { withPeers, clients, environment }: ComparisonOptions,
  postgres: BenchPostgres
): AsyncGenerator<Entry> {
  yield enter('static', await startCeiling('Fastify, fixed answer', 'static', clients))
  yield enter('ceiling', await startCeiling('Fastify + form + one ES256 signature', 'sign', clients))
  yield enter('grantd', await startGrantd('grantd', postgres, { clients, environment }))
  if (!withPeers) return
  for await (const peer of startPeers(postgres, clients)) yield enter('peer', peer)
}

function enter(kind: Standing['kind'], contestant: Contestant): Entry {
  return { contestant, standing: { name: contestant.name, kind, rounds: [], atGrantdsHalf: [], coldStartMs: 0 } }
}

const WARM_UP_SECONDS = 6

async function prepare({ contestant, standing }: Entry, options: ComparisonOptions): Promise<void> {
  const { rounds, seconds, connections, say } = options
  say(`warming up ${contestant.name}`)
  if (contestant.databaseUrl !== undefined) await admit(contestant)
  const starts: number[] = []
  for (let start = 0; start < rounds; start++) {
    starts.push(await coldStart(contestant.command, contestant.requests[0] ?? Buffer.alloc(0)))
  }
  standing.coldStartMs = spread(starts).median
  await warmUp(contestant, connections, Math.min(WARM_UP_SECONDS, seconds * 2))
}

async function measureCeilingAtGrantdsHalf(entries: readonly Entry[], round: number, seconds: number): Promise<void> {
  const grantd = entries.find(({ standing }) => standing.kind === 'grantd')
  const ceiling = entries.find(({ standing }) => standing.kind === 'ceiling')
  const { tokensPerSecond = 0 } = grantd?.standing.rounds[round] ?? {}
  if (ceiling === undefined) return
  ceiling.standing.atGrantdsHalf.push(await measureLatencies(ceiling.contestant, tokensPerSecond / 2, seconds))
}
