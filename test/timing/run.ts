import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import os from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { createClientSecret } from '../../src/credentials/secret.ts'
import { freePort } from '../fixtures/app/app.ts'
import { requestBytes } from '../fixtures/app/raw-http.ts'
import { inDays } from '../fixtures/app/registration.ts'
import { quantile, separate } from './statistics.ts'

/**
 * Does the token endpoint's time tell a stranger what is registered? Asks a real process about clients of every state
 * in turn, and compares each with an unknown one; then does the same to one whose decoy is skipped, which the measure
 * has to catch. Ends with 1 when a state can be told apart, or the control can not.
 */

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '2000' },
    'junk-rounds': { type: 'string', default: '6000' },
    'control-rounds': { type: 'string', default: '300' }
  }
})

/** Beyond these both, one duration tells an attacker something, and it isn't chance. */
const MOST_AUC_DEVIATION = 0.05
const MOST_T = 4.5

/** Before anything is counted: code gets compiled, caches fill. */
const WARM_UP_ROUNDS = 30

interface Client {
  clientId: string
  clientSecret: string
}

interface Service {
  port: number
  /** Of each state that a stranger must not tell from `unknown`. */
  clients: Record<State, Client>
  stop: () => Promise<void>
}

const STATES = ['unknown', 'unknown again', 'wrong', 'wrong, warm', 'disabled', 'expired', 'deleted'] as const
type State = (typeof STATES)[number]

const ROOT = path.join(import.meta.dirname, '../..')
const SKIP_DECOY = ['--import', path.join(import.meta.dirname, 'skip-decoy.ts')]

let hasFailed = false
const service = await startService([])
report(
  'a well-formed wrong secret: one Argon2 verification',
  await measure(service, Number(values.rounds), () => createClientSecret('grantd_')),
  false
)
report("what can't be a secret: none", await measure(service, Number(values['junk-rounds']), () => 'junk'), false)
await service.stop()

const control = await startService(SKIP_DECOY)
report(
  'the control, whose decoy is skipped',
  await measure(control, Number(values['control-rounds']), () => createClientSecret('grantd_')),
  true
)
await control.stop()
process.exit(hasFailed ? 1 : 0)

/** A process of its own with an embedded database, in a folder that goes with it. */
async function startService(nodeOptions: readonly string[]): Promise<Service> {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'grantd-timing-'))
  const port = await freePort()
  const { PATH = '' } = process.env
  const child = spawn(process.execPath, [...nodeOptions, 'src/commands/start.ts'], {
    cwd: ROOT,
    env: { PATH, PORT: String(port), DATA_DIR: folder, LOG_LEVEL: 'warn', TOKEN_FAILURE_LIMIT: '1000000' },
    stdio: ['ignore', 'pipe', 'inherit']
  })
  process.once('exit', () => child.kill('SIGKILL'))
  let output = ''
  child.stdout.on('data', chunk => (output += chunk))
  while (!output.includes('API reference:')) {
    if (child.exitCode !== null) throw new Error(`it ended: ${output}`)
    await sleep(20)
  }
  const [token = ''] = /^eyJ\S+$/m.exec(output) ?? []
  const clients = await makeClients(`http://127.0.0.1:${port}`, token)
  const stop = async (): Promise<void> => {
    child.kill('SIGTERM')
    await once(child, 'close')
    // Its Postgres ends a little later, and writes until then.
    for (let attempt = 0; attempt < 20 && existsSync(folder); attempt++) {
      rmSync(folder, { recursive: true, force: true, maxRetries: 20 })
      await sleep(200)
    }
  }
  return { port, clients, stop }
}

async function makeClients(baseUrl: string, token: string): Promise<Record<State, Client>> {
  const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' }
  const collection = `${baseUrl}/v1/sites/acme/app-registrations`
  const register = async (members: Record<string, unknown> = {}): Promise<Client> => {
    const body = { name: 'timed', expiresAt: inDays(1), ...members }
    const response = await fetch(collection, { method: 'POST', headers, body: JSON.stringify(body) })
    if (response.status !== 201) throw new Error(await response.text())
    return Object(await response.json())
  }
  const exchange = ({ clientId, clientSecret }: Client): Promise<Response> => {
    const form = { grant_type: 'client_credentials', client_id: clientId, client_secret: clientSecret }
    return fetch(`${baseUrl}/oauth/token`, { method: 'POST', body: new URLSearchParams(form) })
  }
  const warm = await register()
  const expired = await register({ expiresAt: new Date(Date.now() + 1_000).toISOString() })
  const deleted = await register()
  for (const client of [warm, deleted]) await exchange(client)
  await fetch(`${collection}/${deleted.clientId}`, { method: 'DELETE', headers: { authorization: `Bearer ${token}` } })
  await sleep(1_100)
  return {
    unknown: { clientId: 'k3v9x2m7q1w8z5t4r6y0', clientSecret: '' },
    'unknown again': { clientId: 'a1b2c3d4e5f6g7h8i9j0', clientSecret: '' },
    wrong: await register(),
    'wrong, warm': warm,
    disabled: await register({ enabled: false }),
    expired,
    deleted
  }
}

type Durations = Record<State, number[]>

/** Rounds that ask about each state once, in an order of chance, one request at a time. Milliseconds. */
async function measure({ port, clients }: Service, rounds: number, secret: () => string): Promise<Durations> {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true })
  const durations: Durations = {
    unknown: [],
    'unknown again': [],
    wrong: [],
    'wrong, warm': [],
    disabled: [],
    expired: [],
    deleted: []
  }
  for (let round = -WARM_UP_ROUNDS; round < rounds; round++) {
    for (const state of shuffled(STATES)) {
      const duration = await timed(socket, tokenRequest(clients[state].clientId, secret()))
      if (round >= 0) durations[state].push(duration)
    }
  }
  socket.destroy()
  return durations
}

function tokenRequest(clientId: string, clientSecret: string): Buffer {
  const form = `grant_type=client_credentials&client_id=${clientId}&client_secret=${clientSecret}`
  const headers = { 'Content-Type': 'application/x-www-form-urlencoded' }
  return requestBytes('/oauth/token', headers, Buffer.from(form))
}

async function timed(socket: Socket, request: Buffer): Promise<number> {
  const answered = once(socket, 'data')
  const started = performance.now()
  socket.write(request)
  const [answer] = await answered
  const duration = performance.now() - started
  if (!String(answer).startsWith('HTTP/1.1 401 ')) throw new Error(String(answer))
  return duration
}

function shuffled<T>(items: readonly T[]): T[] {
  const rest = [...items]
  return items.flatMap(() => rest.splice(Math.floor(Math.random() * rest.length), 1))
}

/** @param isControl then the unknown client has to differ from the others, rather than be the same as they */
function report(what: string, durations: Durations, isControl: boolean): void {
  const { unknown, ...others } = durations
  console.log(`\n${what}: ${unknown.length} rounds, median ${quantile(unknown, 0.5).toFixed(3)} ms when unknown`)
  for (const [state, sample] of Object.entries(others)) {
    const { auc, t, medianDifference } = separate(unknown, sample)
    const isSeparable = Math.abs(auc - 0.5) > MOST_AUC_DEVIATION && Math.abs(t) > MOST_T
    const isUnknownToo = state === 'unknown again' || state === 'deleted'
    const isAsItShould = isControl && !isUnknownToo ? isSeparable : !isSeparable
    if (!isAsItShould) hasFailed = true
    const figures = `AUC ${auc.toFixed(3)}  t ${t.toFixed(1).padStart(7)}  medians ${(medianDifference * 1_000).toFixed(1).padStart(8)} µs`
    const verdict = isSeparable ? 'told apart' : 'the same'
    console.log(`  ${isAsItShould ? 'ok  ' : 'FAIL'} ${state.padEnd(14)} ${figures}  ${verdict}`)
  }
}
