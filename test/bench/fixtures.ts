import type { Machine } from '../../bench/machine.ts'
import type { Sample } from '../../bench/measure.ts'
import type { Comparison, Standing } from '../../bench/report/standing.ts'

export const quietMachine: Machine = {
  cpu: 'A & B <cpu>',
  cores: 2,
  memoryGiB: 8,
  system: 'Linux 6',
  node: 'v26.0.0',
  postgres: '18.4',
  date: '2026-01-02',
  busyShare: 0.01,
  sync: { p50: 0.5, p99: 1 }
}

export function sample(change: Partial<Sample> = {}): Sample {
  return {
    tokens: 4_000,
    tokensPerSecond: 1_000,
    serverUs: 100,
    postgresUs: 20,
    walBytes: 150,
    generatorUs: 10,
    generatorCores: 0.1,
    idleCores: 0.5,
    foreignShare: 0,
    p50: 1,
    p99: 2,
    p999: 3,
    failures: 0,
    residentMiB: 100,
    ...change
  }
}

export function standing(
  name: string,
  kind: Standing['kind'],
  change: Partial<Sample> = {},
  rowsPerToken = 0
): Standing {
  const one = sample(change)
  const round = { full: one, ownHalf: one, atRates: [one, one, one, one], rowsPerToken }
  return { name, kind, rounds: [round, round], coldStartMs: kind === 'grantd' ? 400 : 200 }
}

export const comparison: Comparison = {
  standings: [
    standing('bare', 'static', { tokensPerSecond: 9_000 }),
    standing('ceiling', 'ceiling', { tokensPerSecond: 4_000, serverUs: 90 }),
    standing('same guarantee', 'guarantee', { tokensPerSecond: 3_700, serverUs: 110 }),
    standing('grantd', 'grantd', { tokensPerSecond: 3_600, serverUs: 120 }),
    standing('grantd right after a restart', 'restarted', { tokensPerSecond: 2_000 }),
    standing('slow & small', 'peer', { tokensPerSecond: 500, p99: 700 }),
    standing('fast', 'peer', { tokensPerSecond: 900, p99: 1.5 }),
    standing('stores', 'peer', { tokensPerSecond: 950, p99: 30 }, 1)
  ],
  rates: [500, 1_000, 2_000, 1_800]
}
