import { parseArgs } from 'node:util'
import { startPostgres } from './contestants/postgres.ts'
import { stopAll } from './contestants/processes.ts'
import { watchClock } from './doubts.ts'
import { examineMachine } from './machine.ts'
import { doubtLine, keep, type Result, sectionOf } from './report/report.ts'
import { compareCheckouts } from './runs/checkouts.ts'
import { measureCold, measureMemory } from './runs/cold.ts'
import { compareContestants } from './runs/comparison.ts'
import { measureFlood } from './runs/flood.ts'
import { measureGrowth } from './runs/growth.ts'
import { measureInstances } from './runs/instances.ts'
import { measureIntrospection } from './runs/introspection.ts'
import { measureKeys } from './runs/keys.ts'
import { profileGrantd } from './runs/profile.ts'
import type { Run } from './runs/run.ts'
import { measureSoak } from './runs/soak.ts'
import { measureWorkers } from './runs/workers.ts'

interface RunDefaults {
  run: Run
  rounds?: number
  seconds?: number
  clients?: number
}

/** `npm run bench -- <run>`; README.md describes the runs. */
const RUNS: Record<string, RunDefaults> = {
  comparison: { run: compareContestants },
  // Many short rounds: a difference of 2 % is less than what one round varies by.
  compare: { run: compareCheckouts, rounds: 20, seconds: 2 },
  growth: { run: measureGrowth, clients: 500 },
  soak: { run: measureSoak },
  workers: { run: measureWorkers },
  instances: { run: measureInstances },
  cold: { run: measureCold, clients: 10_000 },
  memory: { run: measureMemory, rounds: 3, clients: 100_000 },
  keys: { run: measureKeys, rounds: 10 },
  introspection: { run: measureIntrospection, rounds: 10 },
  flood: { run: measureFlood, clients: 50, seconds: 10 },
  profile: { run: profileGrantd, seconds: 20 }
}

/** For a run that names no other. */
const DEFAULTS = { rounds: 5, seconds: 4, clients: 200, exchanges: 1_000_000 }
const CONNECTIONS = 64
/** For a smoke run. */
const QUICK = { rounds: 2, seconds: 1, clients: 50, exchanges: 10_000 }

const { values, positionals } = parseArgs({
  allowPositionals: true,
  allowNegative: true,
  options: {
    quick: { type: 'boolean', default: false },
    peers: { type: 'boolean', default: true },
    rounds: { type: 'string' },
    seconds: { type: 'string' },
    clients: { type: 'string' },
    connections: { type: 'string' },
    workers: { type: 'string' },
    exchanges: { type: 'string' }
  }
})

const [name = 'comparison', otherCheckout] = positionals
const named = RUNS[name]
if (named === undefined) throw new Error(`there is no run "${name}". The runs are ${Object.keys(RUNS).join(', ')}.`)

const { quick: isQuick, workers, peers: withPeers } = values
const say = (line: string): boolean => process.stderr.write(`${line}\n`)
const defaults = isQuick ? QUICK : { ...DEFAULTS, ...named }
const amounts = {
  rounds: positive('rounds', defaults.rounds),
  seconds: positive('seconds', defaults.seconds),
  clients: positive('clients', defaults.clients),
  connections: positive('connections', CONNECTIONS),
  exchanges: positive('exchanges', defaults.exchanges)
}
const environment: Record<string, string> = workers === undefined ? {} : { WORKERS: workers }

const examined = await examineMachine()
const postgres = await startPostgres()
const machine = { ...examined, postgres: postgres.version }
const stopWatching = watchClock()
let result: Result
try {
  result = await named.run({ ...amounts, withPeers, isQuick, environment, otherCheckout, machine, postgres, say })
} finally {
  await stopAll()
  await postgres.stop()
}
const doubts = doubtLine(machine, { foreignShares: result.foreignShares, clockStepsMs: stopWatching() })
process.stdout.write(`${sectionOf(result, machine, doubts)}\n`)
// A smoke run or a part of a run is only printed, and so is a comparison with another checkout.
if (!isQuick && withPeers && otherCheckout === undefined) keep(name, result, machine, doubts)

/** Returns the number in an option, or a default when the option is absent. */
function positive(option: 'rounds' | 'seconds' | 'clients' | 'connections' | 'exchanges', fallback: number): number {
  const value = Number(values[option] ?? fallback)
  if (!(value > 0)) throw new Error(`--${option} must be a positive number`)
  return value
}
