import type { Sample } from '../measure.ts'
import type { Result } from '../report/report.ts'
import { markdownTable, tidy } from '../report/table.ts'
import { pairwiseRatio, spread } from '../statistics.ts'
import type { RunOptions } from './run.ts'

interface Entry {
  name: string
  samples: readonly Sample[]
}

/** Reports what two of a kind do against one. The first entry is the one. */
export function scalingResult(
  kind: string,
  entries: readonly Entry[],
  { rounds, seconds, connections, clients, machine }: RunOptions
): Result {
  const [one, two] = entries
  const withoutGenerator = ({ samples }: Entry): number[] =>
    samples.map(sample => tokensWithoutGenerator(sample, machine.cores))
  return {
    title: `${kind}: two against one`,
    load: `Full load: ${connections} connections, ${clients} clients. ${rounds} rounds of ${seconds} s.`,
    body: [
      markdownTable(
        ['', 'tokens/s', 'without the generator', 'server CPU µs', 'Postgres CPU µs', 'idle cores', 'failures'],
        entries.map(entry => [
          entry.name,
          tidy(medianOf(entry, sample => sample.tokensPerSecond)),
          tidy(spread(withoutGenerator(entry)).median),
          tidy(medianOf(entry, sample => sample.serverUs)),
          tidy(medianOf(entry, sample => sample.postgresUs)),
          medianOf(entry, sample => sample.idleCores).toFixed(2),
          String(entry.samples.reduce((sum, { failures }) => sum + failures, 0))
        ])
      ),
      `"Without the generator": when the machine has no idle core left, the generator takes CPU that the server would use. ` +
        `This column returns that share. Postgres keeps its own, so that ${machine.cores} cores bound what two can reach.`
    ].join('\n\n'),
    targets:
      one === undefined || two === undefined
        ? []
        : [
            {
              what: `tokens/s of ${two.name} against ${one.name}, generator's share taken out`,
              value: pairwiseRatio(withoutGenerator(two), withoutGenerator(one)),
              unit: '×',
              wanted: { least: 1.7 }
            }
          ],
    foreignShares: entries.flatMap(({ samples }) => samples.map(sample => sample.foreignShare))
  }
}

/** Returns the tokens a second of a machine on which the generator costs nothing. */
export function tokensWithoutGenerator(
  { tokensPerSecond, generatorCores, idleCores }: Pick<Sample, 'tokensPerSecond' | 'generatorCores' | 'idleCores'>,
  cores: number
): number {
  const taken = Math.max(0, generatorCores - idleCores)
  return (tokensPerSecond * cores) / (cores - taken)
}

function medianOf({ samples }: Entry, read: (sample: Sample) => number): number {
  return spread(samples.map(read)).median
}
