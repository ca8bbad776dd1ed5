import { tokenRequest } from './connection.ts'
import { type Grantd, startGrantd } from './contestants.ts'
import type { Machine } from './machine.ts'
import { measureLatencies, measureRound, type Round, warmUp } from './measure.ts'
import { query, startPostgres } from './postgres.ts'
import { pairwiseRatio, spread } from './statistics.ts'
import { formatSpread, machineLine, markdownTable } from './table.ts'

export interface GrowthOptions {
  rounds: number
  seconds: number
  connections: number
  /** Up to 100,000 registrations only. */
  isQuick: boolean
  environment: Record<string, string>
  machine: Machine
  say: (line: string) => unknown
}

const SIZES = [1_000, 10_000, 100_000, 1_000_000]
const SITES = 10_000
/** Spread evenly over all registrations; each costs an Argon2 verification of 10 ms before it is warm. */
const WARM_CLIENTS = 500
/** For latencies: the same at every size, and easy. */
const PER_SECOND = 1_000

/** The cost of a token with ever more registrations: an instance and a database for each size, in interleaved rounds. */
export async function measureGrowth(options: GrowthOptions): Promise<string> {
  const { rounds, seconds, connections, isQuick, environment, machine, say } = options
  const sizes = isQuick ? SIZES.slice(0, -1) : SIZES
  const postgres = await startPostgres()
  const entered: { size: number; grantd: Grantd; measured: (Round & { p99: number })[] }[] = []
  try {
    for (const size of sizes) {
      say(`${size} registrations`)
      const options = { clients: 1, database: `growth_${size}`, environment }
      const grantd = await startGrantd(`${size} registrations`, postgres, options)
      grantd.requests = await fill(grantd, size)
      await warmUp(grantd, connections, seconds)
      entered.push({ size, grantd, measured: [] })
    }
    await query(postgres.urlOf('postgres'), 'checkpoint')
    for (let round = 0; round < rounds; round++) {
      say(`round ${round + 1} of ${rounds}`)
      for (const { grantd, measured } of [...entered.slice(round), ...entered.slice(0, round)]) {
        const measuredRound = await measureRound(grantd, postgres, { connections, seconds })
        const { p99 } = await measureLatencies(grantd, PER_SECOND, seconds)
        measured.push({ ...measuredRound, p99 })
      }
    }
  } finally {
    for (const { grantd } of entered) await grantd.server.stop()
    await postgres.stop()
  }
  return reportGrowth(entered, machineLine(machine, postgres.version))
}

/** Copies the only registration until there are so many. @returns requests of the warm clients */
async function fill({ databaseUrl, clientSecret }: Grantd, size: number): Promise<Buffer[]> {
  const columns = await query<{ name: string }>(
    databaseUrl,
    `select column_name as name from information_schema.columns
     where table_schema = 'public' and table_name = 'registrations' and is_generated = 'NEVER'
       and column_name not in ('client_id', 'site_id')`
  )
  const others = columns.map(({ name }) => name).join(', ')
  await query(
    databaseUrl,
    `insert into registrations (client_id, site_id, ${others})
     select left(md5(i::text), 20), 'site-' || i % ${SITES}, ${others}
     from (select * from registrations limit 1) as first, generate_series(1, ${size}) as i`
  )
  await query(databaseUrl, 'vacuum analyze')
  const ids = await query<{ id: string }>(
    databaseUrl,
    `select left(md5(i::text), 20) as id from generate_series(1, ${size}, ${Math.floor(size / WARM_CLIENTS)}) as i order by random()`
  )
  return ids.map(({ id }) => tokenRequest('/oauth/token', id, clientSecret))
}

function reportGrowth(
  entered: readonly { size: number; measured: readonly (Round & { p99: number })[] }[],
  machine: string
): string {
  const [first] = entered
  const costOf = ({ serverUs, postgresUs }: Round): number => serverUs + postgresUs
  const rows = entered.map(({ size, measured }) => {
    const median = (read: (round: Round & { p99: number }) => number): number => spread(measured.map(read)).median
    return [
      size.toLocaleString('en'),
      median(round => round.tokensPerSecond).toFixed(0),
      median(round => round.serverUs).toFixed(0),
      median(round => round.postgresUs).toFixed(0),
      formatSpread(pairwiseRatio(measured.map(costOf), first?.measured.map(costOf) ?? [])),
      median(round => round.p99).toFixed(2),
      formatSpread(
        pairwiseRatio(
          measured.map(({ p99 }) => p99),
          first?.measured.map(({ p99 }) => p99) ?? []
        )
      ),
      String(measured.reduce((sum, round) => sum + round.failures + round.half.failures, 0))
    ]
  })
  const head = ['registrations', 'tokens/s', 'server CPU µs', 'Postgres CPU µs', 'CPU over the first row']
  return [
    machine,
    '',
    markdownTable([...head, `p99 ms at ${PER_SECOND}/s`, 'p99 over the first row', 'failures'], rows),
    '',
    `Target: CPU per token with 1,000,000 registrations at most 1.2 times that with 1,000.`
  ].join('\n')
}
