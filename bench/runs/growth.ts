import { columnsOf } from '../contestants/client-copies.ts'
import { type Grantd, startGrantd } from '../contestants/grantd.ts'
import { query } from '../contestants/postgres.ts'
import { measureAtRate, measureFullLoad, type Sample, warmUp } from '../measure.ts'
import type { Result } from '../report/report.ts'
import { formatSpread, markdownTable, tidy } from '../report/table.ts'
import { pairwiseRatio, spread } from '../statistics.ts'
import { inTurn, type RunOptions } from './run.ts'

const SIZES = [1_000, 1_000_000]
const QUICK_SIZES = [1_000, 20_000]
const SITES = 10_000
/** For latencies: the same at every size. */
const PER_SECOND = 1_000

interface Entry {
  size: number
  grantd: Grantd
  full: Sample[]
  atRate: Sample[]
}

/** Measures the cost of a token beside many registrations: an instance and a database for each size, in interleaved rounds. */
export async function measureGrowth(options: RunOptions): Promise<Result> {
  const { rounds, seconds, connections, clients, isQuick, environment, say, postgres } = options
  const entries: Entry[] = []
  for (const size of isQuick ? QUICK_SIZES : SIZES) {
    say(`${size} registrations`)
    const name = `${size.toLocaleString('en')} registrations`
    const grantd = await startGrantd(name, postgres, { clients, database: `growth_${size}`, environment })
    await addRegistrations(grantd.databaseUrl, size - clients)
    entries.push({ size, grantd, full: [], atRate: [] })
    await warmUp(grantd, connections, seconds)
  }
  await postgres.run('checkpoint')
  for (let round = 0; round < rounds; round++) {
    say(`round ${round + 1} of ${rounds}`)
    for (const { grantd, full, atRate } of inTurn(entries, round)) {
      full.push(await measureFullLoad(grantd, postgres, { connections, seconds }))
      atRate.push(await measureAtRate(grantd, postgres, { perSecond: PER_SECOND, seconds }))
    }
  }
  return {
    ...reportGrowth(entries),
    load: `Full load: ${connections} connections, ${clients} clients. ${rounds} rounds of ${seconds} s for each kind of load.`
  }
}

/** Columns of a copy that differ from the original. Long expired ones are due for no notice. */
const VARIED = ['client_id', 'site_id', 'name', 'name_folded', 'enabled', 'expires_at']

/**
 * Adds registrations that are copies of one that is there, and writes all rows in a random order. A few Sites hold most
 * registrations, a tenth have expired, one in fifty is disabled, and most have been used.
 */
async function addRegistrations(databaseUrl: string, count: number): Promise<void> {
  const same = await columnsOf(databaseUrl, 'registrations', VARIED)
  const all = `${VARIED.join(', ')}, ${same}`
  await query(
    databaseUrl,
    `create temp table copies as
       select substr(md5(i::text), 1, 20) as client_id, 'site-' || floor(${SITES} * power(random(), 4)) as site_id,
         'service ' || i as name, 'service ' || i as name_folded, i % 50 <> 0 as enabled,
         now() + case when i % 10 = 0 then interval '-200 days' else (60 + 300 * random()) * interval '1 day' end as expires_at,
         ${same}
       from generate_series(1, ${count}) as i, (select * from registrations limit 1) as original;
     create temp table originals as select ${all} from registrations;
     create temp table uses as select client_id, last_used_at from registration_last_used;
     truncate registrations, registration_last_used cascade;
     insert into registrations (${all})
       select * from (select * from copies union all select * from originals) as all_of_them order by random();
     update registration_last_used set last_used_at = uses.last_used_at
       from uses where uses.client_id = registration_last_used.client_id;
     update registration_last_used set last_used_at = now() - random() * interval '300 days'
       from copies where copies.client_id = registration_last_used.client_id and random() < 0.8`
  )
  await query(databaseUrl, 'vacuum analyze')
}

function reportGrowth(entries: readonly Entry[]): Pick<Result, 'title' | 'body' | 'targets' | 'foreignShares'> {
  const [least, most] = [entries[0], entries.at(-1)]
  if (least === undefined || most === undefined) throw new Error('growth needs two sizes')
  const cost = ({ full }: Entry): number[] => full.map(({ serverUs, postgresUs }) => serverUs + postgresUs)
  const p99 = ({ atRate }: Entry): number[] => atRate.map(sample => sample.p99)
  const medianOf = ({ full }: Entry, member: 'tokensPerSecond' | 'serverUs' | 'postgresUs'): string =>
    tidy(spread(full.map(sample => sample[member])).median)
  return {
    title: 'Growth: the cost of a token beside many registrations',
    body: [
      markdownTable(
        [
          ...['registrations', 'tokens/s', 'server CPU µs', 'Postgres CPU µs', 'CPU against the first row'],
          ...[`p99 ms at ${PER_SECOND}/s`, 'p99 against the first row', 'failures']
        ],
        entries.map(entry => [
          entry.size.toLocaleString('en'),
          medianOf(entry, 'tokensPerSecond'),
          medianOf(entry, 'serverUs'),
          medianOf(entry, 'postgresUs'),
          formatSpread(pairwiseRatio(cost(entry), cost(least))),
          tidy(spread(p99(entry)).median),
          formatSpread(pairwiseRatio(p99(entry), p99(least))),
          String([...entry.full, ...entry.atRate].reduce((sum, { failures }) => sum + failures, 0))
        ])
      ),
      `The registrations are skewed: few of ${SITES.toLocaleString('en')} Sites hold most of them, a tenth have expired, 2 % are disabled, and ` +
        '80 % have been used. The rows of the clients that exchange lie scattered among all rows.'
    ].join('\n\n'),
    targets: [
      {
        what: `CPU per token with ${most.size.toLocaleString('en')} registrations against ${least.size.toLocaleString('en')}`,
        value: pairwiseRatio(cost(most), cost(least)),
        unit: '×',
        wanted: { most: 1.2 }
      }
    ],
    foreignShares: entries.flatMap(({ full, atRate }) => [...full, ...atRate].map(sample => sample.foreignShare))
  }
}
