import { existsSync, readFileSync, rmSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Grantd, startGrantd } from './contestants.ts'
import { closedLoop } from './load.ts'
import type { Machine } from './machine.ts'
import { startPostgres } from './postgres.ts'
import { slope } from './statistics.ts'
import { machineLine, markdownTable } from './table.ts'

export interface SoakOptions {
  exchanges: number
  clients: number
  connections: number
  environment: Record<string, string>
  machine: Machine
  say: (line: string) => unknown
}

interface Sample {
  exchanges: number
  residentMiB: number
  /** After a full collection. */
  heapMiB: number
}

const SAMPLES = 20
/** At the start code is compiled and caches fill: the slope is that of what comes after. */
const WARM_SHARE = 0.25

/** Memory over many exchanges. */
export async function measureSoak(options: SoakOptions): Promise<string> {
  const { exchanges, clients, connections, environment, machine, say } = options
  const postgres = await startPostgres()
  const heapFile = path.join(postgres.folder, 'heap')
  const grantd = await startGrantd('grantd', postgres, {
    clients,
    environment: { ...environment, HEAP_FILE: heapFile },
    nodeOptions: ['--expose-gc', '--import', './bench/heap-probe.ts']
  })
  const samples: Sample[] = []
  let done = 0
  let failures = 0
  try {
    for (let nextSample = 0; done < exchanges; ) {
      const load = await closedLoop(grantd.server.port, grantd.requests, { connections, seconds: 1 })
      done += load.answers
      failures += load.failures
      if (done < nextSample) continue
      nextSample += exchanges / SAMPLES
      const residentMiB = grantd.server.residentMiB()
      samples.push({ exchanges: done, residentMiB, heapMiB: await collectedHeap(grantd, heapFile) })
      say(`${done} exchanges, ${residentMiB.toFixed(0)} MiB`)
    }
  } finally {
    await grantd.server.stop()
    await postgres.stop()
  }
  return report(samples, failures, machineLine(machine, postgres.version))
}

async function collectedHeap({ server }: Grantd, file: string): Promise<number> {
  rmSync(file, { force: true })
  process.kill(server.pid, 'SIGUSR2')
  while (!existsSync(file) || readFileSync(file, 'utf8') === '') await sleep(20)
  return Number(readFileSync(file, 'utf8')) / 2 ** 20
}

function report(samples: readonly Sample[], failures: number, machine: string): string {
  const steady = samples.slice(Math.floor(samples.length * WARM_SHARE))
  const perMillion = (read: (sample: Sample) => number): string =>
    (slope(steady.map(sample => ({ x: sample.exchanges, y: read(sample) }))) * 1e6).toFixed(2)
  return [
    machine,
    '',
    markdownTable(
      ['exchanges', 'RSS MiB', 'heap after collection MiB'],
      samples.map(({ exchanges, residentMiB, heapMiB }) => [
        exchanges.toLocaleString('en'),
        residentMiB.toFixed(1),
        heapMiB.toFixed(2)
      ])
    ),
    '',
    `Slope after the first quarter, MiB per million exchanges: RSS ${perMillion(sample => sample.residentMiB)}, ` +
      `heap ${perMillion(sample => sample.heapMiB)}. Failures: ${failures}.`
  ].join('\n')
}
