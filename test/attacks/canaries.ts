import { randomBytes, randomUUID } from 'node:crypto'
import type { Test } from 'tap'
import { createClientSecret } from '../../src/credentials/secret.ts'
import { freePort } from '../fixtures/app/app.ts'
import { query } from '../fixtures/app/database.ts'
import { type Answer, basic, Grantd, type Sending, send } from '../fixtures/app/grantd.ts'
import { exchangeBytes } from '../fixtures/app/raw-http.ts'
import { COLLECTION, inDays } from '../fixtures/app/registration.ts'
import { AUDIENCE, makeKey, startIdentityProvider } from '../fixtures/peers/identity-provider.ts'
import { type ServerProcess, spawnServer, temporaryFolder, untilReady } from '../fixtures/run/process.ts'
import { until } from '../fixtures/run/until.ts'
import { OPERATIONS, type Target } from './operations.ts'

const FORM = { 'content-type': 'application/x-www-form-urlencoded' }
const JSON_TYPE = { 'content-type': 'application/json' }

/** Texts that may appear nowhere but in the answer that handed them out. */
export class Canaries {
  /** Each with its forms, which are looked for in a thousand texts. */
  readonly #forms = new Map<string, readonly string[]>()

  add(text: string): string {
    if (!this.#forms.has(text)) this.#forms.set(text, formsOf(text))
    return text
  }

  get count(): number {
    return this.#forms.size
  }

  /** Returns the canaries of which this text has a form. The part that varies counts, not the prefix that they share. */
  foundIn(text: string): string[] {
    return [...this.#forms].filter(([, forms]) => forms.some(form => text.includes(form))).map(([canary]) => canary)
  }
}

/** Returns a canary as it is, in base64 at each alignment, base64url, URL-encoded and hex. A JWT also counts by its signature. */
export function formsOf(canary: string): string[] {
  const parts = canary.startsWith('eyJ') ? [canary, canary.split('.')[2] || canary] : [canary, canary.slice(7, 40)]
  return parts.flatMap(part => {
    const base64 = [0, 1, 2].map(shift => {
      const encoded = Buffer.from('x'.repeat(shift) + part).toString('base64')
      return encoded.slice(shift === 0 ? 0 : 4, -4)
    })
    const url = base64.map(text => text.replaceAll('+', '-').replaceAll('/', '_'))
    const escaped = [...part].map(letter => `%${letter.charCodeAt(0).toString(16)}`).join('')
    return [part, ...base64, ...url, encodeURIComponent(part), escaped, Buffer.from(part).toString('hex')]
  })
}

export interface Stage {
  grantd: Grantd
  server: ServerProcess
  canaries: Canaries
  databaseUrl: string
  keyEncryptionKey: string
  metricsUrl: string
  /** An issuer of workloads' tokens, which are canaries. */
  workloads: { issuer: string; sign: (subject: string) => Promise<string> }
}

/** Starts a process that logs at level trace, and trusts an identity provider whose every token is a canary. */
export async function setStage(t: Test, databaseUrl: string, environment: Record<string, string> = {}): Promise<Stage> {
  const canaries = new Canaries()
  const provider = await startIdentityProvider(t)
  const key = await makeKey('ES256', 'published')
  provider.publish([key])
  const keyEncryptionKey = canaries.add(randomBytes(32).toString('base64url'))
  const METRICS_PORT = String(await freePort())
  const server = await spawnServer(t, {
    METRICS_PORT,
    DATA_DIR: temporaryFolder(t),
    DATABASE_URL: databaseUrl,
    LOG_LEVEL: 'trace',
    KEY_ENCRYPTION_KEY: keyEncryptionKey,
    ADMIN_ISSUER: provider.issuer,
    ADMIN_AUDIENCE: AUDIENCE,
    FEDERATED_ISSUERS: provider.issuer,
    TOKEN_FAILURE_LIMIT: '10',
    MAX_NOTICE_RECEIVERS_PER_SITE: '1000',
    ...environment
  })
  await untilReady(server)
  const sign = async (sites: unknown) => canaries.add(await provider.sign(key, { site_admin: sites }))
  return {
    grantd: new Grantd(server.baseUrl, databaseUrl, sign, async () => {}),
    server,
    canaries,
    databaseUrl,
    keyEncryptionKey,
    metricsUrl: `http://127.0.0.1:${METRICS_PORT}/metrics`,
    workloads: {
      issuer: provider.issuer,
      sign: async sub => {
        const claims = { sub, aud: server.baseUrl, iat: Math.floor(Date.now() / 1_000), jti: randomUUID() }
        return canaries.add(await provider.sign(key, claims))
      }
    }
  }
}

/** Sends each operation by good and bad callers. @returns all answers, which may hold no canary */
export async function driveOperations({ grantd, canaries }: Stage): Promise<string[]> {
  const answers: string[] = []
  for (const operation of OPERATIONS) {
    const good = await grantd.adminToken(['*'])
    const tokens = [
      good,
      await grantd.adminToken(['globex']),
      await grantd.adminToken([]),
      canaries.add(`${good.slice(0, -20)}${randomBytes(15).toString('base64url')}`),
      undefined
    ]
    for (const token of tokens) {
      const target = await makeTarget(grantd, canaries)
      const { path, headers, body } = await operation.request(target, grantd)
      const [, feedKey] = /^\/calendar\/(.+)\.ics$/.exec(path) ?? []
      if (feedKey !== undefined) canaries.add(feedKey)
      const authorization = token === undefined ? {} : { authorization: `Bearer ${token}` }
      // Only a create and a rotation read the header. The others must not log it either.
      const retry = { 'idempotency-key': canaries.add(randomUUID()) }
      const sending = { headers: { ...headers, ...authorization, ...retry }, ...(body !== '' && { body }) }
      const answer = await grantd.send(operation.method, path, sending)
      answers.push(withoutHandedOut(answer, canaries))
    }
  }
  return answers
}

async function makeTarget(grantd: Grantd, canaries: Canaries): Promise<Target> {
  const { clientId, clientSecret } = await grantd.register()
  return { siteId: 'acme', clientId, clientSecret: canaries.add(clientSecret) }
}

/** Makes a canary of what an answer hands out. @returns the rest of the answer */
export function withoutHandedOut({ status, headers, text }: Answer, canaries: Canaries): string {
  let rest = JSON.stringify({ status, headers, text })
  const {
    clientSecret,
    signingSecret,
    ticket,
    claim: { ticket: firstTicket } = { ticket: undefined },
    access_token: accessToken,
    url: feedUrl
  } = status < 300 && text.startsWith('{') ? JSON.parse(text) : {}
  const [feedKey] = /[\w-]{43}(?=\.ics$)/.exec(feedUrl) ?? []
  for (const handedOut of [clientSecret, signingSecret, ticket, firstTicket, accessToken, feedKey]) {
    if (typeof handedOut === 'string') rest = rest.replace(canaries.add(handedOut), '')
  }
  return rest
}

/** Returns requests with secrets in every place where callers put them by mistake, and requests that fail in every way. */
function mistakes({ clientId, clientSecret: secret }: Target, token: string): [string, string, Sending][] {
  const form = (parameters: Record<string, string>) => new URLSearchParams(parameters).toString()
  const grant = { grant_type: 'client_credentials' }
  const post = (parameters: Record<string, string>, headers = {}): [string, string, Sending] => [
    'POST',
    '/oauth/token',
    { headers: { ...FORM, ...headers }, body: form(parameters) }
  ]
  const admin = { authorization: `Bearer ${token}`, ...JSON_TYPE }
  const wrong = { name: 'x', expiresAt: inDays(10) }
  return [
    post({ ...grant, client_id: secret, client_secret: secret }),
    post({ ...grant, client_id: clientId, client_secret: secret, scope: secret }),
    post({ grant_type: secret, client_id: clientId, client_secret: secret }),
    post({ ...grant, client_id: clientId, client_secret: `${secret}x` }),
    post({ ...grant, client_id: clientId, client_secret: secret, client_assertion: token }),
    post({ ...grant, [secret]: token }),
    post(grant, { authorization: basic(secret, clientId) }),
    post(grant, { authorization: basic(clientId, `${secret}x`) }),
    post(grant, { authorization: `Bearer ${token}` }),
    post(grant, { authorization: `${basic(clientId, secret)}, Bearer ${token}` }),
    post({ ...grant, client_id: '0'.repeat(20), client_secret: secret }, { 'x-request-id': `a b ${secret}` }),
    post({ ...grant, client_secret: secret }, { cookie: `token=${token}`, referer: `https://a/?secret=${secret}` }),
    ['POST', `/oauth/token?client_secret=${secret}`, { headers: FORM, body: form(grant) }],
    ['GET', `/oauth/token?client_id=${clientId}&client_secret=${secret}&access_token=${token}`, {}],
    ['POST', '/oauth/token', { headers: JSON_TYPE, body: JSON.stringify({ client_secret: secret }) }],
    ['POST', '/oauth/token', { headers: FORM, body: `${form({ ...grant, client_secret: secret })}&x=%zz` }],
    ['POST', '/oauth/token', { headers: FORM, body: `client_secret=${secret}&x=${'x'.repeat(17_000)}` }],
    ...['/oauth/introspect', '/oauth/revoke'].flatMap((path): [string, string, Sending][] => [
      ['POST', path, { headers: FORM, body: form({ client_id: clientId, client_secret: secret, token }) }],
      ['POST', path, { headers: FORM, body: form({ client_id: secret, client_secret: secret, token: secret }) }],
      ['POST', path, { headers: { ...FORM, authorization: `Bearer ${token}` }, body: form({ token: secret }) }],
      ['POST', `${path}?token=${token}`, { headers: FORM, body: form({ client_id: clientId, client_secret: secret }) }]
    ]),
    ['PUT', `/oauth/token/${secret}`, { headers: FORM, body: `client_secret=${secret}` }],
    ['GET', `/${secret}`, {}],
    ['GET', `/%zz${secret}`, {}],
    ['GET', `/calendar/${secret}.ics`, {}],
    ['PUT', `/calendar/${secret}.ics`, {}],
    ['GET', `/v1/sites/${secret}/app-registrations`, { headers: admin }],
    ['GET', `${COLLECTION}/${secret}`, { headers: admin }],
    ['GET', `${COLLECTION}?search=${secret}&access_token=${token}`, { headers: admin }],
    ['GET', `${COLLECTION}?cursor=${secret}`, { headers: admin }],
    ['GET', COLLECTION, { headers: { ...admin, 'if-match': secret, 'x-api-key': secret } }],
    ['POST', COLLECTION, { headers: admin, body: JSON.stringify({ ...wrong, clientSecret: secret }) }],
    ['POST', COLLECTION, { headers: admin, body: JSON.stringify({ ...wrong, enabled: secret, scopes: token }) }],
    ['POST', COLLECTION, { headers: admin, body: JSON.stringify({ ...wrong, expiresAt: secret }) }],
    ['POST', COLLECTION, { headers: admin, body: `{"name": ${secret}}` }],
    ['POST', COLLECTION, { headers: admin, body: `{"name":"${secret}","name":"${token}"}` }],
    ['POST', COLLECTION, { headers: { ...admin, 'content-type': secret }, body: secret }],
    ['PATCH', `${COLLECTION}/${clientId}`, { headers: admin, body: JSON.stringify({ secret_hash: secret }) }],
    ['DELETE', `${COLLECTION}/${clientId}?secret=${secret}`, { headers: admin }]
  ]
}

export async function driveMistakes({ grantd, server, canaries }: Stage): Promise<string[]> {
  const target = await makeTarget(grantd, canaries)
  const token = await grantd.adminToken(['*'])
  const answers: string[] = []
  for (const [method, path, sending] of mistakes(target, token)) {
    answers.push(withoutHandedOut(await send(method, `${server.baseUrl}${path}`, sending), canaries))
  }
  // Refused by the parser of HTTP, before they are requests.
  for (const bytes of [
    `GET / HTTP/1.1\r\nHost: grantd\r\nAuthorization Bearer ${token}\r\n\r\n`,
    `GET /${target.clientSecret} HTTP/9.9\r\n\r\n`,
    `${target.clientSecret}\r\n\r\n`,
    `GET / HTTP/1.1\r\nHost: grantd\r\nX-Long: ${target.clientSecret.repeat(2_000)}\r\n\r\n`
  ]) {
    answers.push(await exchangeBytes(server.baseUrl, bytes))
  }
  // Enough failures for 429, also on each of two workers.
  for (let failure = 0; failure < 40; failure++) {
    const clientSecret = canaries.add(createClientSecret('grantd_'))
    answers.push((await grantd.exchange({ clientId: target.clientId, clientSecret })).text)
  }
  return answers
}

/** Sends every mistake while the database fails each statement, and while it is away. */
export async function driveFaults(stage: Stage): Promise<string[]> {
  const { grantd, server, canaries, databaseUrl } = stage
  const target = await makeTarget(grantd, canaries)
  const token = await grantd.adminToken(['*'])
  const answers: string[] = []
  const drive = async (statuses: number[]) => {
    const seen = new Set<number>()
    for (const [method, path, sending] of mistakes(target, token)) {
      const answer = await send(method, `${server.baseUrl}${path}`, sending)
      seen.add(answer.status)
      answers.push(withoutHandedOut(answer, canaries))
    }
    for (const status of statuses) if (!seen.has(status)) throw new Error(`no ${status} was seen`)
  }
  await query(databaseUrl, 'alter table registrations rename column client_id to moved')
  await drive([500])
  await query(databaseUrl, 'alter table registrations rename column moved to client_id')
  const name = new URL(databaseUrl).pathname.slice(1)
  const elsewhere = new URL(databaseUrl)
  elsewhere.pathname = '/postgres'
  await query(elsewhere.href, `alter database ${name} allow_connections false`)
  await query(elsewhere.href, 'select pg_terminate_backend(pid) from pg_stat_activity where datname = $1', [name])
  await drive([503])
  await query(elsewhere.href, `alter database ${name} allow_connections true`)
  await until('it is ready again', async () => (await send('GET', `${server.baseUrl}/health/ready`)).status === 200)
  return answers
}
