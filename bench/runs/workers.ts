import { type Grantd, startGrantd } from '../contestants/grantd.ts'
import { measureFullLoad, type Sample, warmUp } from '../measure.ts'
import type { Result } from '../report/report.ts'
import { inTurn, type RunOptions } from './run.ts'
import { scalingResult } from './scaling.ts'

/** Compares two workers with one, on one Postgres, in interleaved rounds. */
export async function measureWorkers(options: RunOptions): Promise<Result> {
  const { rounds, seconds, connections, clients, environment, say, postgres } = options
  const entries: { name: string; grantd: Grantd; samples: Sample[] }[] = []
  for (const workers of ['1', '2']) {
    const name = `${workers} ${workers === '1' ? 'worker' : 'workers'}`
    const grantd = await startGrantd(name, postgres, {
      clients,
      database: `workers_${workers}`,
      environment: { ...environment, WORKERS: workers }
    })
    entries.push({ name, grantd, samples: [] })
    await warmUp(grantd, connections, seconds)
  }
  for (let round = 0; round < rounds; round++) {
    say(`round ${round + 1} of ${rounds}`)
    for (const { grantd, samples } of inTurn(entries, round))
      samples.push(await measureFullLoad(grantd, postgres, { connections, seconds }))
  }
  return scalingResult('Workers', entries, options)
}
