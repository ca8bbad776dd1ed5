import { admit } from '../contestants/admission.ts'
import { type Contestant, firstOf, startCeiling, startSameGuarantee } from '../contestants/contestant.ts'
import { startGrantd } from '../contestants/grantd.ts'
import { installPeers, startPeers } from '../contestants/peers.ts'
import { type BenchPostgres, countRows } from '../contestants/postgres.ts'
import { coldStart } from '../contestants/processes.ts'
import { measureAtRate, measureFullLoad, type Sample, warmUp } from '../measure.ts'
import { comparisonChart } from '../report/comparison-chart.ts'
import { comparisonTables } from '../report/comparison-tables.ts'
import { comparisonTargets } from '../report/comparison-targets.ts'
import type { Result } from '../report/report.ts'
import type { Comparison, Round, Standing } from '../report/standing.ts'
import { spread } from '../statistics.ts'
import { inTurn, type RunOptions } from './run.ts'

/** Requests per second. Half of grantd's full load comes to them. */
const RATES = [500, 1_000, 2_000]

interface Entry {
  contestant: Contestant
  standing: Standing
}

/** Compares grantd with the ceilings of its stack and with peers from npm, in interleaved rounds on one Postgres. */
export async function compareContestants(options: RunOptions): Promise<Result> {
  const { withPeers, rounds, seconds, clients, connections, machine, say, postgres } = options
  if (withPeers) installPeers()
  const entries: Entry[] = []
  const rates = [...RATES]
  for await (const entry of enterAll(options, postgres)) entries.push(entry)
  for (const entry of entries) await prepare(entry, options)
  rates.push(await halfOfGrantd(entries, postgres, options))
  for (let round = 0; round < rounds; round++) {
    say(`round ${round + 1} of ${rounds}`)
    for (const { contestant, standing } of inTurn(entries, round))
      standing.rounds.push(await measureRound(contestant, postgres, rates, options))
  }
  const comparison: Comparison = { standings: entries.map(({ standing }) => standing), rates }
  const samples = comparison.standings.flatMap(({ rounds }) => rounds.flatMap(samplesOf))
  return {
    title: 'grantd beside its ceilings and its peers',
    load: `Full load: ${connections} connections, ${clients} clients. ${rounds} rounds of ${seconds} s for each kind of load.`,
    body: comparisonTables(comparison),
    targets: comparisonTargets(comparison),
    foreignShares: samples.map(({ foreignShare }) => foreignShare),
    chart: comparisonChart(comparison, machine)
  }
}

async function* enterAll(options: RunOptions, postgres: BenchPostgres): AsyncGenerator<Entry> {
  const { withPeers, clients, environment } = options
  yield enter('static', await startCeiling('Fastify, fixed answer', 'static', clients))
  yield enter('ceiling', await startCeiling('Fastify + form + ES256 signature, in turns', 'sign', clients))
  yield enter('guarantee', await startSameGuarantee(postgres, clients))
  const grantd = await startGrantd('grantd', postgres, { clients, environment })
  yield enter('grantd', grantd)
  // Its own process, which runs only while it is measured, on the same database.
  const stopped = { ports: [], pid: 0, cpu: () => 0, residentMiB: () => 0, stop: async () => {} }
  yield enter('restarted', { ...grantd, name: 'grantd right after a restart', server: stopped, isRestarted: true })
  if (!withPeers) return
  for await (const peer of startPeers(postgres, clients)) yield enter('peer', peer)
}

function enter(kind: Standing['kind'], contestant: Contestant): Entry {
  return { contestant, standing: { name: contestant.name, kind, rounds: [], coldStartMs: 0 } }
}

const WARM_UP_SECONDS = 6

/** Checks that a contestant does its work, times its start and warms it up. */
async function prepare({ contestant, standing }: Entry, options: RunOptions): Promise<void> {
  if (contestant.isRestarted) return
  const { rounds, seconds, connections, say } = options
  say(`warming up ${contestant.name}`)
  if (standing.kind !== 'static' && standing.kind !== 'ceiling') await admit(contestant)
  const starts: number[] = []
  for (let start = 0; start < rounds; start++)
    starts.push(await coldStart(contestant.command, firstOf(contestant.requests)))
  standing.coldStartMs = spread(starts).median
  await warmUp(contestant, connections, Math.min(WARM_UP_SECONDS, seconds * 2))
}

async function halfOfGrantd(entries: readonly Entry[], postgres: BenchPostgres, options: RunOptions): Promise<number> {
  const grantd = entries.find(({ standing }) => standing.kind === 'grantd')
  if (grantd === undefined) throw new Error('grantd takes part in every comparison')
  const { tokensPerSecond } = await measureFullLoad(grantd.contestant, postgres, options)
  return Math.round(tokensPerSecond / 2)
}

async function measureRound(
  contestant: Contestant,
  postgres: BenchPostgres,
  rates: readonly number[],
  options: RunOptions
): Promise<Round> {
  const { connections, seconds } = options
  const { databaseUrl } = contestant
  const rows = async (): Promise<number> => (databaseUrl === undefined ? 0 : countRows(databaseUrl))
  const rowsBefore = await rows()
  const full = await measureFullLoad(contestant, postgres, { connections, seconds })
  const rowsPerToken = ((await rows()) - rowsBefore) / full.tokens
  const ownHalf = await measureAtRate(contestant, postgres, { perSecond: full.tokensPerSecond / 2, seconds })
  const atRates: Sample[] = []
  for (const perSecond of rates) atRates.push(await measureAtRate(contestant, postgres, { perSecond, seconds }))
  return { full, ownHalf, atRates, rowsPerToken }
}

function samplesOf({ full, ownHalf, atRates }: Round): Sample[] {
  return [full, ownHalf, ...atRates]
}
