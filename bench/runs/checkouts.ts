import path from 'node:path'
import { type Grantd, startGrantd } from '../contestants/grantd.ts'
import { ROOT } from '../contestants/processes.ts'
import { measureAtRate, measureFullLoad, type Sample, warmUp } from '../measure.ts'
import type { Result } from '../report/report.ts'
import { formatSpread, markdownTable, tidy } from '../report/table.ts'
import { pairwiseRatio, spread } from '../statistics.ts'
import { inTurn, type RunOptions } from './run.ts'

interface Entry {
  name: string
  grantd: Grantd
  full: Sample[]
  atRate: Sample[]
}

/** Compares grantd of this checkout with grantd of another one, in interleaved rounds on one Postgres. */
export async function compareCheckouts(options: RunOptions): Promise<Result> {
  const { rounds, seconds, connections, clients, environment, otherCheckout, say, postgres } = options
  if (otherCheckout === undefined) throw new Error('Name the other checkout: npm run bench -- compare <path>')
  const entries: Entry[] = []
  let perSecond = 0
  for (const [name, root] of [
    ['here', ROOT],
    ['there', path.resolve(otherCheckout)]
  ] as const) {
    say(`starting ${root}`)
    const grantd = await startGrantd(name, postgres, { clients, environment, root, database: name })
    entries.push({ name, grantd, full: [], atRate: [] })
    await warmUp(grantd, connections, seconds * 2)
  }
  for (let round = 0; round < rounds; round++) {
    say(`round ${round + 1} of ${rounds}`)
    for (const { grantd, full } of inTurn(entries, round))
      full.push(await measureFullLoad(grantd, postgres, { connections, seconds }))
    // The same rate for both, in all rounds.
    if (round === 0) perSecond = Math.round(Math.min(...entries.map(({ full }) => full[0]?.tokensPerSecond ?? 0)) / 2)
    for (const { grantd, atRate } of inTurn(entries, round))
      atRate.push(await measureAtRate(grantd, postgres, { perSecond, seconds }))
  }
  return report(entries, perSecond, options)
}

function report(entries: readonly Entry[], perSecond: number, options: RunOptions): Result {
  const { rounds, seconds, connections, clients, otherCheckout } = options
  const [here, there] = entries
  if (here === undefined || there === undefined) throw new Error('a comparison needs two checkouts')
  const columns: [string, (entry: Entry) => number[]][] = [
    ['tokens/s', ({ full }) => full.map(sample => sample.tokensPerSecond)],
    ['server CPU µs', ({ full }) => full.map(sample => sample.serverUs)],
    ['Postgres CPU µs', ({ full }) => full.map(sample => sample.postgresUs)],
    [`p50 ms at ${perSecond}/s`, ({ atRate }) => atRate.map(sample => sample.p50)],
    [`p99 ms at ${perSecond}/s`, ({ atRate }) => atRate.map(sample => sample.p99)],
    ['RSS MiB', ({ full }) => full.map(sample => sample.residentMiB)],
    ['failures', ({ full, atRate }) => [...full, ...atRate].map(sample => sample.failures)]
  ]
  const tokens = (entry: Entry): number[] => entry.full.map(sample => sample.tokensPerSecond)
  return {
    title: `This checkout against ${otherCheckout}`,
    load: `Full load: ${connections} connections, ${clients} clients. ${rounds} rounds of ${seconds} s for each kind of load.`,
    body: markdownTable(
      ['', ...columns.map(([name]) => name)],
      [
        ...entries.map(entry => [entry.name, ...columns.map(([, read]) => tidy(spread(read(entry)).median))]),
        [
          'ratio',
          ...columns.map(([name, read]) =>
            name === 'failures' ? '' : formatSpread(pairwiseRatio(read(here), read(there)))
          )
        ]
      ]
    ),
    targets: [
      {
        what: 'tokens/s against the other checkout',
        value: pairwiseRatio(tokens(here), tokens(there)),
        unit: '×',
        wanted: { least: 0.98 }
      }
    ],
    foreignShares: entries.flatMap(({ full, atRate }) => [...full, ...atRate].map(sample => sample.foreignShare))
  }
}
