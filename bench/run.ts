import { parseArgs } from 'node:util'
import { compare } from './comparison.ts'
import { measureFlood } from './flood.ts'
import { measureGrowth } from './growth.ts'
import { describeMachine } from './machine.ts'
import { keepReport, reportOf } from './report.ts'
import { measureSoak } from './soak.ts'

/**
 * `npm run bench`: grantd beside its peers and the ceilings of its stack. `-- growth`, `-- flood` and `-- soak` are
 * benches of their own; see README.md.
 */
const { values, positionals } = parseArgs({
  allowPositionals: true,
  allowNegative: true,
  options: {
    quick: { type: 'boolean', default: false },
    peers: { type: 'boolean', default: true },
    rounds: { type: 'string' },
    seconds: { type: 'string' },
    clients: { type: 'string', default: '200' },
    connections: { type: 'string', default: '64' },
    workers: { type: 'string' },
    exchanges: { type: 'string', default: '1000000' }
  }
})

const { quick, workers, peers: withPeers } = values
const rounds = Number(values.rounds ?? (quick ? 2 : 5))
const seconds = Number(values.seconds ?? (quick ? 1.5 : 4))
const clients = Number(values.clients)
const connections = Number(values.connections)
const machine = describeMachine()
const environment: Record<string, string> = workers === undefined ? {} : { WORKERS: workers }
const say = (line: string): boolean => process.stderr.write(`${line}\n`)
const print = (text: string): boolean => process.stdout.write(`${text}\n`)

const benches: Record<string, () => Promise<void>> = {
  async comparison() {
    const comparison = await compare({ withPeers, rounds, seconds, clients, connections, environment, say })
    const load = `${connections} connections, ${clients} clients, ${rounds} rounds of ${seconds} s for each kind of load.`
    const report = reportOf(comparison, machine, load)
    print(report)
    // A quick look, or half of it, is not for keeping.
    if (!quick && withPeers) keepReport(report, comparison, machine)
  },
  async growth() {
    print(await measureGrowth({ rounds, seconds, connections, isQuick: quick, environment, machine, say }))
  },
  async flood() {
    print(await measureFlood({ rounds, seconds: seconds * 2, clients, environment, machine, say }))
  },
  async soak() {
    print(await measureSoak({ exchanges: Number(values.exchanges), clients, connections, environment, machine, say }))
  }
}

const [name = 'comparison'] = positionals
const bench = benches[name]
if (bench === undefined) throw new Error(`no such bench: ${name}; there are ${Object.keys(benches).join(', ')}`)
await bench()
