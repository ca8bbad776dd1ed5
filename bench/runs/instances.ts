import { startAnswering } from '../contestants/contestant.ts'
import { startGrantd } from '../contestants/grantd.ts'
import { together } from '../contestants/processes.ts'
import { measureFullLoad, type Sample, warmUp } from '../measure.ts'
import type { Result } from '../report/report.ts'
import { inTurn, type RunOptions } from './run.ts'
import { scalingResult } from './scaling.ts'

/** Compares two instances with one, on one database, in interleaved rounds. Every client uses both. */
export async function measureInstances(options: RunOptions): Promise<Result> {
  const { rounds, seconds, connections, clients, environment, say, postgres } = options
  const one = await startGrantd('1 instance', postgres, { clients, environment })
  const both = { ...one, name: '2 instances' }
  const entries: { name: string; contestant: typeof one; samples: Sample[] }[] = [
    { name: one.name, contestant: one, samples: [] },
    { name: both.name, contestant: both, samples: [] }
  ]
  both.server = together([one.server, await startAnswering(one.command, one.requests)])
  await warmUp(both, connections, seconds * 2)
  for (let round = 0; round < rounds; round++) {
    say(`round ${round + 1} of ${rounds}`)
    for (const { contestant, samples } of inTurn(entries, round))
      samples.push(await measureFullLoad(contestant, postgres, { connections, seconds }))
  }
  return scalingResult('Instances', entries, options)
}
