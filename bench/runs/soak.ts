import path from 'node:path'
import { startGrantd } from '../contestants/grantd.ts'
import { type Table, tablesOf } from '../contestants/postgres.ts'
import { measureFullLoad } from '../measure.ts'
import type { Result } from '../report/report.ts'
import { markdownTable } from '../report/table.ts'
import { slope, spread } from '../statistics.ts'
import { readProbe } from './probe.ts'
import type { RunOptions } from './run.ts'

interface SoakSample {
  exchanges: number
  residentMiB: number
  /** After a full collection. */
  heapMiB: number
  tables: Table[]
}

const SAMPLES = 20
/** Code is compiled and caches fill at the start, so the slope leaves this share out. */
const WARM_SHARE = 0.25

/** Measures memory and tables over many exchanges. */
export async function measureSoak(options: RunOptions): Promise<Result> {
  const { exchanges, clients, connections, environment, say, postgres } = options
  const heapFile = path.join(postgres.folder, 'heap')
  const grantd = await startGrantd('grantd', postgres, {
    clients,
    environment: { ...environment, HEAP_FILE: heapFile },
    nodeOptions: ['--expose-gc', '--import', './bench/servers/heap-probe.ts']
  })
  const samples: SoakSample[] = []
  const foreignShares: number[] = []
  let done = 0
  let failures = 0
  while (done < exchanges) {
    const load = await measureFullLoad(grantd, postgres, { connections, seconds: 1 })
    done += load.tokens
    failures += load.failures
    foreignShares.push(load.foreignShare)
    if (done < (samples.length * exchanges) / SAMPLES) continue
    const heapMiB = Number(await readProbe(grantd.server, heapFile)) / 2 ** 20
    const tables = await tablesOf(grantd.databaseUrl)
    samples.push({ exchanges: done, residentMiB: load.residentMiB, heapMiB, tables })
    say(`${done} exchanges, ${load.residentMiB.toFixed(0)} MiB`)
  }
  return {
    ...reportSoak(samples, failures),
    load: `Full load: ${connections} connections, ${clients} clients.`,
    foreignShares
  }
}

function reportSoak(samples: readonly SoakSample[], failures: number): Pick<Result, 'title' | 'body' | 'targets'> {
  const steady = samples.slice(Math.floor(samples.length * WARM_SHARE))
  const perMillion = (read: (sample: SoakSample) => number): number =>
    slope(steady.map(sample => ({ x: sample.exchanges, y: read(sample) }))) * 1e6
  const [first, last] = [steady[0], steady.at(-1)]
  const tableMiB = ({ tables }: SoakSample): number => tables.reduce((sum, { bytes }) => sum + bytes, 0) / 2 ** 20
  const rows = (sample: SoakSample | undefined): number =>
    (sample?.tables ?? []).reduce((sum, table) => sum + table.rows, 0)
  const exact = (value: number) => spread([value])
  return {
    title: 'Soak: memory and tables over many exchanges',
    body: [
      markdownTable(
        ['exchanges', 'RSS MiB', 'heap after collection MiB', 'all tables MiB', 'rows'],
        samples.map(sample => [
          sample.exchanges.toLocaleString('en'),
          sample.residentMiB.toFixed(1),
          sample.heapMiB.toFixed(2),
          tableMiB(sample).toFixed(2),
          String(rows(sample))
        ])
      ),
      `Largest tables at the end: ${largest(last?.tables ?? [])}. Slopes leave out the first quarter. ` +
        `RSS: ${perMillion(sample => sample.residentMiB).toFixed(2)} MiB per million exchanges. Failures: ${failures}.`
    ].join('\n\n'),
    targets: [
      {
        what: 'heap per million exchanges',
        value: exact(perMillion(sample => sample.heapMiB)),
        unit: 'MiB',
        wanted: { most: 1 }
      },
      {
        what: 'tables per million exchanges',
        value: exact(perMillion(tableMiB)),
        unit: 'MiB',
        wanted: { most: 1 }
      },
      { what: 'rows added', value: exact(rows(last) - rows(first)), unit: 'rows', wanted: { most: 0 } },
      {
        what: 'memory under load',
        value: spread(steady.map(({ residentMiB }) => residentMiB)),
        unit: 'MiB',
        wanted: { most: 150 }
      }
    ]
  }
}

const LARGEST = 3

function largest(tables: readonly Table[]): string {
  return [...tables]
    .sort((a, b) => b.bytes - a.bytes)
    .slice(0, LARGEST)
    .map(({ name, bytes, rows }) => `${name} (${Math.round(bytes / 1_024)} KiB, ${rows} rows)`)
    .join(', ')
}
