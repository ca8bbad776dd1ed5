import { existsSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { startGrantd } from '../contestants/grantd.ts'
import { startPostgres } from '../contestants/postgres.ts'
import { measureFullLoad, warmUp } from '../measure.ts'
import { type CpuProfile, originOf, type SelfTime, selfTimes } from '../report/profile.ts'
import type { Result } from '../report/report.ts'
import { markdownTable, tidy } from '../report/table.ts'
import type { RunOptions } from './run.ts'

const SHOWN = 30

/** Profiles grantd under full load: the functions and the rooms that spend the server's main thread. */
export async function profileGrantd(options: RunOptions): Promise<Result> {
  const { seconds, connections, clients, environment } = options
  const postgres = await startPostgres()
  const file = path.join(postgres.folder, 'profile')
  const grantd = await startGrantd('grantd', postgres, {
    clients,
    environment: { ...environment, PROFILE_FILE: file },
    nodeOptions: ['--import', './bench/servers/cpu-probe.ts']
  })
  try {
    await warmUp(grantd, connections, seconds / 2)
    process.kill(grantd.server.pid, 'SIGUSR2')
    const sample = await measureFullLoad(grantd, postgres, { connections, seconds })
    process.kill(grantd.server.pid, 'SIGUSR2')
    const profile = await readProfile(file)
    const tokens = sample.tokensPerSecond * seconds
    return {
      title: 'Profile: self time of the main thread at full load',
      load: `${connections} connections, ${clients} clients, ${seconds} s, ${tidy(sample.tokensPerSecond)} tokens/s with the profiler.`,
      body: [
        table('room, package or module', selfTimes(profile, originOf), tokens),
        table('function', selfTimes(profile), tokens)
      ].join('\n\n'),
      targets: [],
      postgresVersion: postgres.version,
      foreignShares: [sample.foreignShare]
    }
  } finally {
    await grantd.server.stop()
    await postgres.stop()
  }
}

async function readProfile(file: string): Promise<CpuProfile> {
  for (;;) {
    await sleep(100)
    if (!existsSync(file)) continue
    try {
      return JSON.parse(readFileSync(file, 'utf8'))
    } catch {
      // It is still being written.
    }
  }
}

function table(head: string, times: readonly SelfTime[], tokens: number): string {
  const total = times.reduce((sum, { us }) => sum + us, 0)
  return markdownTable(
    [head, '% of busy time', 'µs per token'],
    times.slice(0, SHOWN).map(({ name, us }) => [name, ((100 * us) / total).toFixed(1), (us / tokens).toFixed(1)])
  )
}
