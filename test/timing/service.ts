import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, globSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { freePort } from '../fixtures/app/app.ts'
import { ASSERTION_TYPE, type ClientKey, claimsOf, makeClientKey, signAssertion } from '../fixtures/app/assertion.ts'
import { inDays } from '../fixtures/app/registration.ts'
import { ROOT } from '../fixtures/run/paths.ts'

/** States of a client that a stranger must not be able to distinguish from an unknown client. */
export const CLIENT_STATES = [
  ...(['another unknown', 'deleted', 'cold', 'warm', 'disabled', 'expired', 'rotating'] as const),
  ...(['cold key', 'warm key', 'RSA key', 'two keys', 'cold workload', 'warm workload'] as const)
]
export type ClientState = (typeof CLIENT_STATES)[number]
type KeyState = Extract<ClientState, `${string}key${string}`>
type WorkloadState = Extract<ClientState, `${string}workload`>

/** States of a token of another Site that a gateway must not be able to distinguish from an unknown token. */
export const TOKEN_STATES = ['another unknown', 'live', 'disabled', 'deleted', 'stopped', 'revoked'] as const
export type TokenState = (typeof TOKEN_STATES)[number]

/** An issuer whose keys are in a file. */
const CLUSTER = 'https://cluster.example'

export interface TimedService {
  port: number
  /** Client ids. */
  clients: Record<ClientState | 'unknown', string>
  /** A token of a trusted issuer whose subject is that of no registration. */
  workloadToken: string
  /** A registration that may introspect the tokens of its Site. */
  gateway: { clientId: string; clientSecret: string }
  /** Tokens of another Site. */
  tokens: Record<TokenState | 'unknown', string>
  /** Ends the database. */
  cutDatabase: () => Promise<void>
  stop: () => Promise<void>
}

/** Starts grantd as a process with an embedded database, in a folder that is deleted in the end. */
export async function startService(nodeOptions: readonly string[] = []): Promise<TimedService> {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'grantd-timing-'))
  const port = await freePort()
  const baseUrl = `http://127.0.0.1:${port}`
  const keyFile = path.join(folder, 'cluster.jwks.json')
  const signer = await makeClientKey('RS256')
  writeFileSync(keyFile, JSON.stringify({ keys: [publicKeyOf(signer)] }))
  const tokenOf = (sub: string) =>
    signAssertion(signer, claimsOf(sub, baseUrl, Date.now(), { iss: CLUSTER, exp: Date.now() / 1_000 + 3_600 }))
  const { PATH = '' } = process.env
  const child = spawn(process.execPath, [...nodeOptions, 'src/commands/start.ts'], {
    cwd: ROOT,
    env: {
      ...{ PATH, PORT: String(port), METRICS_PORT: '0', DATA_DIR: folder, LOG_LEVEL: 'silent' },
      TOKEN_FAILURE_LIMIT: '1000000',
      FEDERATED_ISSUERS: `${CLUSTER}=${keyFile}`,
      ACCESS_TOKEN_TTL_SECONDS: '3600',
      // The warm client stays in the cache for the whole time that the database is away.
      STALE_CREDENTIALS_SECONDS: '3600'
    },
    stdio: ['ignore', 'pipe', 'inherit']
  })
  process.once('exit', () => child.kill('SIGKILL'))
  let output = ''
  child.stdout.on('data', chunk => (output += chunk))
  while (!/^eyJ\S+$/m.test(output)) {
    if (child.exitCode !== null) throw new Error(`grantd ended: ${output}`)
    await sleep(20)
  }
  const [token = ''] = /^eyJ\S+$/m.exec(output) ?? []
  return {
    port,
    clients: await registerClients(baseUrl, token, tokenOf),
    workloadToken: await tokenOf('nobody'),
    gateway: await registerIn(baseUrl, token, 'acme', { mayIntrospect: true }),
    tokens: await issueTokens(baseUrl, token),
    cutDatabase: async () => {
      const [file = ''] = globSync('**/postmaster.pid', { cwd: folder })
      process.kill(Number.parseInt(readFileSync(path.join(folder, file), 'utf8'), 10), 'SIGINT')
      while (existsSync(path.join(folder, file))) await sleep(20)
    },
    stop: async () => {
      child.kill('SIGTERM')
      await once(child, 'close')
      // Its Postgres ends a little later, and writes until then.
      for (let attempt = 0; attempt < 20 && existsSync(folder); attempt++) {
        rmSync(folder, { recursive: true, force: true, maxRetries: 20 })
        await sleep(200)
      }
    }
  }
}

async function registerClients(
  baseUrl: string,
  token: string,
  tokenOf: (subject: string) => Promise<string>
): Promise<TimedService['clients']> {
  const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' }
  const collection = `${baseUrl}/v1/sites/acme/app-registrations`
  const send = async (method: string, url: string, body?: object): Promise<Record<string, string>> => {
    const response = await fetch(url, { method, headers, ...(body && { body: JSON.stringify(body) }) })
    if (!response.ok) throw new Error(await response.text())
    return response.status === 204 ? {} : Object(await response.json())
  }
  const register = (members: object = {}): Promise<Record<string, string>> =>
    send('POST', collection, { name: 'timed', expiresAt: inDays(1), ...members })
  const exchange = async ({ clientId = '', clientSecret = '' }: Record<string, string>): Promise<void> => {
    const form = { grant_type: 'client_credentials', client_id: clientId, client_secret: clientSecret }
    const { status } = await fetch(`${baseUrl}/oauth/token`, { method: 'POST', body: new URLSearchParams(form) })
    if (status !== 200) throw new Error(`${status}`)
  }
  const [cold, warm, disabled, deleted, rotating] = [
    await register(),
    await register(),
    await register({ enabled: false }),
    await register(),
    await register()
  ]
  const expired = await register({ expiresAt: new Date(Date.now() + 2_000).toISOString() })
  for (const client of [warm, expired, deleted, rotating]) await exchange(client)
  await fetch(`${collection}/${deleted['clientId']}`, {
    method: 'DELETE',
    headers: { authorization: `Bearer ${token}` }
  })
  await send('POST', `${collection}/${rotating['clientId']}/rotate-secret`, {})
  const keyed = await registerKeys(baseUrl, register, (path, body) => send('POST', `${collection}/${path}`, body))
  const workloads = await registerWorkloads(baseUrl, register, tokenOf)
  await sleep(2_100)
  const idOf = ({ clientId = '' }: Record<string, string>) => clientId
  return {
    unknown: 'k3v9x2m7q1w8z5t4r6y0',
    'another unknown': 'a1b2c3d4e5f6g7h8i9j0',
    deleted: idOf(deleted),
    cold: idOf(cold),
    warm: idOf(warm),
    disabled: idOf(disabled),
    expired: idOf(expired),
    rotating: idOf(rotating),
    ...keyed,
    ...workloads
  }
}

interface Credentials {
  clientId: string
  clientSecret: string
}

async function registerIn(baseUrl: string, token: string, site: string, members: object = {}): Promise<Credentials> {
  const response = await fetch(`${baseUrl}/v1/sites/${site}/app-registrations`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    body: JSON.stringify({ name: 'timed', expiresAt: inDays(1), ...members })
  })
  if (!response.ok) throw new Error(await response.text())
  const { clientId, clientSecret }: Credentials = Object(await response.json())
  return { clientId, clientSecret }
}

/** Issues tokens of another Site than that of the gateway, one for each state. All have the same length. */
async function issueTokens(baseUrl: string, adminToken: string): Promise<TimedService['tokens']> {
  const collection = `${baseUrl}/v1/sites/globex/app-registrations`
  const issue = async () => {
    const { clientId: client_id, clientSecret: client_secret } = await registerIn(baseUrl, adminToken, 'globex')
    const post = async (path: string, parameters: Record<string, string>): Promise<string> => {
      const body = new URLSearchParams({ client_id, client_secret, ...parameters })
      const response = await fetch(`${baseUrl}/oauth/${path}`, { method: 'POST', body })
      if (!response.ok) throw new Error(await response.text())
      return response.text()
    }
    const { access_token: token = '' } = Object(JSON.parse(await post('token', { grant_type: 'client_credentials' })))
    const administer = async (method: string, path: string, body?: object): Promise<void> => {
      const headers = { authorization: `Bearer ${adminToken}`, 'content-type': 'application/json' }
      const init = { method, headers, ...(body && { body: JSON.stringify(body) }) }
      const response = await fetch(`${collection}/${client_id}${path}`, init)
      if (!response.ok) throw new Error(await response.text())
    }
    return { token: String(token), revoke: () => post('revoke', { token: String(token) }), administer }
  }
  const [live, disabled, deleted, stopped, revoked] = [
    await issue(),
    await issue(),
    await issue(),
    await issue(),
    await issue()
  ]
  await disabled.administer('PATCH', '', { enabled: false })
  await deleted.administer('DELETE', '')
  await stopped.administer('POST', '/revoke-tokens', {})
  await revoked.revoke()
  return {
    unknown: withRandomSignature(live.token),
    'another unknown': withRandomSignature(live.token),
    ...{ live: live.token, disabled: disabled.token, deleted: deleted.token },
    ...{ stopped: stopped.token, revoked: revoked.token }
  }
}

function withRandomSignature(token: string): string {
  const [header, claims] = token.split('.')
  return `${header}.${claims}.${randomBytes(64).toString('base64url')}`
}

/** Registers clients with public keys. All but the cold one have exchanged. */
async function registerKeys(
  baseUrl: string,
  register: (members: object) => Promise<Record<string, string>>,
  post: (path: string, body: object) => Promise<unknown>
): Promise<Record<KeyState, string>> {
  const withKey = async (alg: 'ES256' | 'RS256') => {
    const key = await makeClientKey(alg)
    const { clientId = '' } = await register({ publicKey: publicKeyOf(key) })
    const client_assertion = await signAssertion(key, claimsOf(clientId, baseUrl, Date.now()))
    const form = { grant_type: 'client_credentials', client_assertion_type: ASSERTION_TYPE, client_assertion }
    const exchange = () => fetch(`${baseUrl}/oauth/token`, { method: 'POST', body: new URLSearchParams(form) })
    return { clientId, exchange }
  }
  const [cold, warm, rsa, two] = [
    await withKey('ES256'),
    await withKey('ES256'),
    await withKey('RS256'),
    await withKey('ES256')
  ]
  await post(`${two.clientId}/rotate-secret`, { publicKey: publicKeyOf(await makeClientKey('ES256')) })
  for (const { exchange } of [warm, rsa, two]) {
    const { status } = await exchange()
    if (status !== 200) throw new Error(`${status}`)
  }
  return { 'cold key': cold.clientId, 'warm key': warm.clientId, 'RSA key': rsa.clientId, 'two keys': two.clientId }
}

/** Registers two clients that are workloads. The warm one has exchanged. */
async function registerWorkloads(
  baseUrl: string,
  register: (members: object) => Promise<Record<string, string>>,
  tokenOf: (subject: string) => Promise<string>
): Promise<Record<WorkloadState, string>> {
  const { clientId: cold = '' } = await register({ federated: { issuer: CLUSTER, subject: 'cold' } })
  const { clientId: warm = '' } = await register({ federated: { issuer: CLUSTER, subject: 'warm' } })
  const client_assertion = await tokenOf('warm')
  const form = { client_id: warm, client_assertion_type: ASSERTION_TYPE, client_assertion }
  const body = new URLSearchParams({ grant_type: 'client_credentials', ...form })
  const { status } = await fetch(`${baseUrl}/oauth/token`, { method: 'POST', body })
  if (status !== 200) throw new Error(`${status}`)
  return { 'cold workload': cold, 'warm workload': warm }
}

function publicKeyOf({ credential: { alg, jwk } }: ClientKey): object {
  return { ...jwk, alg }
}
