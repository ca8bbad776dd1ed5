import path from 'node:path'
import { startGrantd } from '../contestants/grantd.ts'
import { measureFullLoad, warmUp } from '../measure.ts'
import { type CpuProfile, originOf, type SelfTime, selfTimes } from '../report/profile.ts'
import type { Result } from '../report/report.ts'
import { markdownTable, tidy } from '../report/table.ts'
import { readProbe } from './probe.ts'
import type { RunOptions } from './run.ts'

const SHOWN = 30

/** Profiles grantd under full load: the functions and the rooms that spend the server's main thread. */
export async function profileGrantd(options: RunOptions): Promise<Result> {
  const { seconds, connections, clients, environment, postgres } = options
  const file = path.join(postgres.folder, 'profile')
  const grantd = await startGrantd('grantd', postgres, {
    clients,
    environment: { ...environment, PROFILE_FILE: file },
    nodeOptions: ['--import', './bench/servers/cpu-probe.ts']
  })
  await warmUp(grantd, connections, seconds / 2)
  process.kill(grantd.server.pid, 'SIGUSR2')
  const sample = await measureFullLoad(grantd, postgres, { connections, seconds })
  const profile: CpuProfile = JSON.parse(await readProbe(grantd.server, file))
  return {
    title: 'Profile: self time of the main thread at full load',
    load: `${connections} connections, ${clients} clients, ${seconds} s, ${tidy(sample.tokensPerSecond)} tokens/s with the profiler.`,
    body: [
      table('room, package or module', selfTimes(profile, originOf), sample.tokens),
      table('function', selfTimes(profile), sample.tokens)
    ].join('\n\n'),
    targets: [],
    foreignShares: [sample.foreignShare]
  }
}

function table(head: string, times: readonly SelfTime[], tokens: number): string {
  const total = times.reduce((sum, { us }) => sum + us, 0)
  return markdownTable(
    [head, '% of busy time', 'µs per token'],
    times.slice(0, SHOWN).map(({ name, us }) => [name, ((100 * us) / total).toFixed(1), (us / tokens).toFixed(1)])
  )
}
