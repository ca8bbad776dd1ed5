import { randomBytes, randomUUID } from 'node:crypto'
import { connect, type Socket } from 'node:net'
import path from 'node:path'
import { parseArgs } from 'node:util'
import { createClientSecret } from '../../src/credentials/secret.ts'
import { ASSERTION_TYPE } from '../fixtures/app/assertion.ts'
import { requestBytes } from '../fixtures/app/raw-http.ts'
import { CLIENT_STATES, startService, type TimedService, TOKEN_STATES } from './service.ts'
import { quantile, separate } from './statistics.ts'

/**
 * Measures whether the time of the token endpoint reveals what is registered, and that of introspection what became of
 * tokens that the caller may not ask about. It asks a real process about clients and tokens in every state, in a random
 * order, and compares each state with an unknown one: by the time of an answer, and by which of two requests on two
 * connections is answered first. Then it measures a process without the decoys, which must be caught. It ends with 1 when a
 * state can be distinguished, or when the control cannot.
 */

const { values } = parseArgs({
  options: {
    pairs: { type: 'string', default: '8000' },
    'control-pairs': { type: 'string', default: '4000' },
    // Regular expressions of the kinds of requests and of the states to measure.
    kinds: { type: 'string', default: '' },
    states: { type: 'string', default: '' }
  }
})
const kinds = new RegExp(values.kinds)
const named = new RegExp(values.states)

/** Area under the ROC curve: 0.5 for no information. */
const MAX_AUC_DEVIATION = 0.03
/** Standard deviations from the half that chance gives. Over some 30 figures, chance exceeds it once in 500 runs. */
const MAX_Z = 4
/** Before anything is counted: code is compiled and caches fill. */
const WARM_UP_PAIRS = 300

const SKIP_DECOY = ['--import', path.join(import.meta.dirname, 'skip-decoy.ts')]

let failures = 0

const service = await startService()
const repeated = createClientSecret('grantd_')
const secretForm = (clientId: string, secret: string) => ({ client_id: clientId, client_secret: secret })
const freshSecret = (clientId: string) => secretForm(clientId, createClientSecret('grantd_'))
const assertions = [
  ['ES256', 64],
  ['EdDSA', 64],
  ['RS256', 256],
  ['RS256', 384]
] as const
const pairs = Number(values.pairs)
await measure('a new wrong secret', service, freshSecret, 401, pairs)
await measure('a wrong secret that is repeated', service, clientId => secretForm(clientId, repeated), 401, pairs)
await measure('a text that cannot be a secret', service, clientId => secretForm(clientId, 'junk'), 401, pairs)
for (const [alg, bytes] of assertions) {
  await measure(`an assertion by ${alg}, ${8 * bytes} bits`, service, wrongAssertion(alg, bytes), 401, pairs)
}
await measure('a token of a workload', service, tokenOfWorkload(service.workloadToken), 401, pairs)
await measureTokens('an introspection', service, pairs)
await service.cutDatabase()
await measure('a new wrong secret while the database is away', service, freshSecret, 503, pairs)
await measure('an assertion by ES256 while the database is away', service, wrongAssertion('ES256', 64), 503, pairs)
await service.stop()

const controlPairs = Number(values['control-pairs'])
if (controlPairs > 0) {
  const control = await startService(SKIP_DECOY)
  const caught = [
    await measure('the control, without a decoy row', control, freshSecret, 401, controlPairs, true),
    await measure('the control, without decoy keys', control, wrongAssertion('ES256', 64), 401, controlPairs, true),
    await measureTokens('the control of introspection, which remembers every token', control, controlPairs, true)
  ]
  await control.stop()
  if (caught.includes(false)) {
    failures++
    console.log('FAIL the control cannot be distinguished')
  }
}
process.exit(failures > 0 ? 1 : 0)

interface Pairs {
  unknown: number[]
  other: number[]
  /** How often the unknown client was answered first, when both were asked at once. */
  firsts: number
}

/** @returns whether any state that exists was distinguished. Undefined when this kind is left out */
function measure(
  what: string,
  { port, clients }: TimedService,
  formOf: (clientId: string) => Record<string, string>,
  status: number,
  count: number,
  isControl = false
): Promise<boolean | undefined> {
  const grant = { grant_type: 'client_credentials' }
  const requestOf = (state: keyof typeof clients) =>
    formRequest('/oauth/token', { ...grant, ...formOf(clients[state]) })
  const absent = ['another unknown', 'deleted'] as const
  return measureStates(what, { port, states: CLIENT_STATES, requestOf, status, absent }, count, isControl)
}

/** Measures introspections of tokens of another Site, by a gateway. @returns as `measure` does */
function measureTokens(
  what: string,
  { port, gateway, tokens }: TimedService,
  count: number,
  isControl = false
): Promise<boolean | undefined> {
  const credentials = secretForm(gateway.clientId, gateway.clientSecret)
  const requestOf = (state: keyof typeof tokens) =>
    formRequest('/oauth/introspect', { ...credentials, token: tokens[state] })
  const absent = ['another unknown'] as const
  return measureStates(what, { port, states: TOKEN_STATES, requestOf, status: 200, absent }, count, isControl)
}

interface Subject<State extends string> {
  port: number
  states: readonly State[]
  /** Makes the request about what is in this state. */
  requestOf: (state: State | 'unknown') => Buffer
  /** Of every answer. */
  status: number
  /** States that do not exist, so that the control does not distinguish them either. */
  absent: readonly State[]
}

async function measureStates<State extends string>(
  what: string,
  { port, states: all, requestOf, status, absent }: Subject<State>,
  count: number,
  isControl: boolean
): Promise<boolean | undefined> {
  if (!kinds.test(what)) return undefined
  const states = all.filter(state => named.test(state))
  const sockets = [openSocket(port), openSocket(port)] as const
  const results = new Map<State, Pairs>(states.map(state => [state, { unknown: [], other: [], firsts: 0 }]))
  for (let pair = -WARM_UP_PAIRS; pair < count; pair++) {
    for (const state of shuffled(states)) {
      const requests = [requestOf('unknown'), requestOf(state)] as const
      const result = results.get(state)
      const times = [0, 0]
      for (const index of shuffled([0, 1])) {
        times[index] = await timed(sockets[0], requests[index] ?? requests[0], status)
      }
      const isFirst = await isAnsweredFirst(sockets, requests, status)
      if (pair < 0 || result === undefined) continue
      result.unknown.push(times[0] ?? Number.NaN)
      result.other.push(times[1] ?? Number.NaN)
      if (isFirst) result.firsts++
    }
  }
  for (const socket of sockets) socket.destroy()
  console.log(`\n${what}: ${count} pairs for each state`)
  return report(results, new Set(absent), count, isControl)
}

function report(
  results: ReadonlyMap<string, Pairs>,
  absent: ReadonlySet<string>,
  count: number,
  isControl: boolean
): boolean {
  let isCaught = false
  for (const [state, { unknown, other, firsts }] of results) {
    const { auc } = separate(unknown, other)
    const z = (firsts - count / 2) / Math.sqrt(count / 4)
    const isDistinguished = Math.abs(auc - 0.5) > MAX_AUC_DEVIATION || Math.abs(z) > MAX_Z
    if (isDistinguished && !absent.has(state)) isCaught = true
    const isWrong = isDistinguished && (!isControl || absent.has(state))
    if (isWrong) failures++
    const difference = ((quantile(other, 0.5) - quantile(unknown, 0.5)) * 1_000).toFixed(1)
    const verdict = isWrong ? 'FAIL' : isDistinguished ? 'caught' : 'ok'
    console.log(
      `  ${verdict.padEnd(6)} ${state.padEnd(15)} AUC ${auc.toFixed(3)}  medians ${difference.padStart(7)} µs  ` +
        `first ${(firsts / count).toFixed(3)} (z ${z.toFixed(1)})`
    )
  }
  return isCaught
}

function openSocket(port: number): Socket {
  return connect({ port, host: '127.0.0.1', noDelay: true })
}

function formRequest(path: string, parameters: Record<string, string>): Buffer {
  const headers = { 'Content-Type': 'application/x-www-form-urlencoded' }
  return requestBytes(path, headers, Buffer.from(new URLSearchParams(parameters).toString()))
}

/** Makes assertions whose signature is random: no key has made it. @param bytes length of a signature */
function wrongAssertion(alg: string, bytes: number): (clientId: string) => Record<string, string> {
  return clientId => {
    const seconds = Math.floor(Date.now() / 1_000)
    const claims = { iss: clientId, sub: clientId, aud: 'x', iat: seconds, exp: seconds + 60, jti: randomUUID() }
    const parts = [Buffer.from(JSON.stringify({ alg })), Buffer.from(JSON.stringify(claims)), randomBytes(bytes)]
    return {
      client_assertion_type: ASSERTION_TYPE,
      client_assertion: parts.map(part => part.toString('base64url')).join('.')
    }
  }
}

/**
 * Returns requests with the token of a workload that no registration names. The issuer has signed the token, so every
 * check but that one passes.
 */
function tokenOfWorkload(token: string): (clientId: string) => Record<string, string> {
  return clientId => ({ client_id: clientId, client_assertion_type: ASSERTION_TYPE, client_assertion: token })
}

async function timed(socket: Socket, request: Buffer, status: number): Promise<number> {
  const answered = answerOf(socket, status)
  const started = performance.now()
  socket.write(request)
  return (await answered) - started
}

/**
 * Sends two requests at once, on two connections and in an order that are both random: the server answers connections
 * in an order of its own.
 *
 * @returns whether the first request is answered first
 */
async function isAnsweredFirst(
  sockets: readonly [Socket, Socket],
  [first, second]: readonly [Buffer, Buffer],
  status: number
): Promise<boolean> {
  const [one, other] = Math.random() < 0.5 ? sockets : ([sockets[1], sockets[0]] as const)
  const answers = Promise.all([answerOf(one, status), answerOf(other, status)])
  const writes = [() => one.write(first), () => other.write(second)]
  for (const write of shuffled(writes)) write()
  const [at, otherAt] = await answers
  return at < otherAt
}

/** @returns when the answer came */
async function answerOf(socket: Socket, status: number): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<number>()
  socket.once('data', answer => {
    const at = performance.now()
    if (String(answer).startsWith(`HTTP/1.1 ${status} `)) resolve(at)
    else reject(new Error(String(answer)))
  })
  return promise
}

function shuffled<T>(items: readonly T[]): T[] {
  const rest = [...items]
  return items.flatMap(() => rest.splice(Math.floor(Math.random() * rest.length), 1))
}
