import { parseArgs } from 'node:util'
import { watchClock } from './doubts.ts'
import { examineMachine } from './machine.ts'
import { keep, sectionOf } from './report/report.ts'
import { compareCheckouts } from './runs/checkouts.ts'
import { measureCold } from './runs/cold.ts'
import { compareContestants } from './runs/comparison.ts'
import { measureFlood } from './runs/flood.ts'
import { measureGrowth } from './runs/growth.ts'
import { measureInstances } from './runs/instances.ts'
import type { Run } from './runs/run.ts'
import { measureSoak } from './runs/soak.ts'
import { measureWorkers } from './runs/workers.ts'

/** `npm run bench -- <run>`; README.md describes the runs. */
const RUNS: Record<string, Run> = {
  comparison: compareContestants,
  compare: compareCheckouts,
  growth: measureGrowth,
  soak: measureSoak,
  workers: measureWorkers,
  instances: measureInstances,
  cold: measureCold,
  flood: measureFlood
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  allowNegative: true,
  options: {
    quick: { type: 'boolean', default: false },
    peers: { type: 'boolean', default: true },
    rounds: { type: 'string' },
    seconds: { type: 'string' },
    clients: { type: 'string' },
    connections: { type: 'string', default: '64' },
    workers: { type: 'string' },
    exchanges: { type: 'string' }
  }
})

const [name = 'comparison', otherCheckout] = positionals
const run = RUNS[name]
if (run === undefined) throw new Error(`there is no run "${name}". The runs are ${Object.keys(RUNS).join(', ')}.`)

const { quick: isQuick, workers, peers: withPeers } = values
const say = (line: string): boolean => process.stderr.write(`${line}\n`)
const machine = await examineMachine()
const stopWatching = watchClock()
const result = await run({
  rounds: Number(values.rounds ?? (isQuick ? 2 : 5)),
  seconds: Number(values.seconds ?? (isQuick ? 1 : 4)),
  clients: Number(values.clients ?? (isQuick ? 50 : 200)),
  connections: Number(values.connections),
  exchanges: Number(values.exchanges ?? (isQuick ? 10_000 : 1_000_000)),
  withPeers,
  isQuick,
  environment: workers === undefined ? {} : { WORKERS: workers },
  otherCheckout,
  machine,
  say
})
const section = sectionOf(result, machine, stopWatching())
process.stdout.write(`${section}\n`)
// A smoke run or a part of a run is only printed, and so is a comparison with another checkout.
if (!isQuick && withPeers && otherCheckout === undefined) keep(name, section, result, machine)
