import { existsSync, readFileSync, rmSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Grantd, startGrantd } from '../contestants/grantd.ts'
import { startPostgres, type Table, tablesOf } from '../contestants/postgres.ts'
import { measureFullLoad } from '../measure.ts'
import type { Result } from '../report/report.ts'
import { markdownTable } from '../report/table.ts'
import { slope, spread } from '../statistics.ts'
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
  const { exchanges, clients, connections, environment, say } = options
  const postgres = await startPostgres()
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
  try {
    while (done < exchanges) {
      const load = await measureFullLoad(grantd, postgres, { connections, seconds: 1 })
      done += Math.round(load.tokensPerSecond)
      failures += load.failures
      foreignShares.push(load.foreignShare)
      if (done < (samples.length * exchanges) / SAMPLES) continue
      const heapMiB = await collectedHeap(grantd, heapFile)
      const tables = await tablesOf(grantd.databaseUrl)
      samples.push({ exchanges: done, residentMiB: load.residentMiB, heapMiB, tables })
      say(`${done} exchanges, ${load.residentMiB.toFixed(0)} MiB`)
    }
  } finally {
    await grantd.server.stop()
    await postgres.stop()
  }
  return {
    ...reportSoak(samples, failures),
    load: `Full load: ${connections} connections, ${clients} clients.`,
    postgresVersion: postgres.version,
    foreignShares
  }
}

async function collectedHeap({ server }: Grantd, file: string): Promise<number> {
  rmSync(file, { force: true })
  process.kill(server.pid, 'SIGUSR2')
  while (!existsSync(file) || readFileSync(file, 'utf8') === '') await sleep(20)
  return Number(readFileSync(file, 'utf8')) / 2 ** 20
}

function reportSoak(samples: readonly SoakSample[], failures: number): Pick<Result, 'title' | 'body' | 'targets'> {
  const steady = samples.slice(Math.floor(samples.length * WARM_SHARE))
  const perMillion = (read: (sample: SoakSample) => number): number =>
    slope(steady.map(sample => ({ x: sample.exchanges, y: read(sample) }))) * 1e6
  const [first, last] = [steady[0], steady.at(-1)]
  const tableMiB = ({ tables }: SoakSample): number => tables.reduce((sum, { bytes }) => sum + bytes, 0) / 2 ** 20
  const rows = (sample: SoakSample | undefined): number =>
    (sample?.tables ?? []).reduce((sum, table) => sum + table.rows, 0)
  const exact = (value: number) => ({ median: value, min: value, max: value })
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
