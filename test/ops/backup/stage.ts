import { randomBytes, randomUUID } from 'node:crypto'
import { statSync } from 'node:fs'
import path from 'node:path'
import { decodeProtectedHeader } from 'jose'
import type { Test } from 'tap'
import {
  ASSERTION_TYPE,
  claimsOf,
  type KeyClient,
  registerKeyClient,
  signAssertion
} from '../../fixtures/app/assertion.ts'
import { type Answer, basic, type Grantd, type Sending } from '../../fixtures/app/grantd.ts'
import { COLLECTION, inDays } from '../../fixtures/app/registration.ts'
import { startWebhookReceiver, type WebhookReceiver } from '../../fixtures/peers/webhook-receiver.ts'
import { startInstance } from '../../fixtures/run/instance.ts'
import { temporaryFolder } from '../../fixtures/run/process.ts'
import { until } from '../../fixtures/run/until.ts'
import { commandFolder, commandsOf, createInstallation, runCommands, startDebianCluster } from '../installation.ts'

/** A registration with its credentials. */
export type Registered = Awaited<ReturnType<Grantd['register']>>

/** An installation whose database was dumped, went on, and is lost. */
export interface Stage {
  /** Folder that has `grantd.dump`. */
  folder: string
  dumpBytes: number
  /** Environment of an instance, without its database. */
  environment: Record<string, string>
  /** Gets the notices of all Sites and those of the Site `acme`. */
  receiver: WebhookReceiver
  before: Before
  since: Since
}

/** What was there when the database was dumped. */
interface Before {
  client: Registered
  /** A token of it. */
  token: string
  /** A registration whose previous secret goes on, and its new secret. */
  rotated: Registered
  newSecret: string
  keyClient: KeyClient
  /** A registration that may introspect. */
  gateway: Registered
  /** A token that was revoked before the dump, and one before a cut-off. */
  revokedToken: string
  stoppedToken: string
  /** A token that is revoked after the dump, and one whose registration gets a cut-off then. */
  toBeRevoked: { client: Registered; token: string }
  toBeStopped: { client: Registered; token: string }
  /** An open claim ticket. */
  ticket: string
  /** A registration that was created with an `Idempotency-Key`. */
  retried: Answer
  idempotencyKey: string
  /** Cursor of a listing. */
  cursor: string
  /** Path of the calendar of the Site. */
  calendarPath: string
  receiverPath: string
  signingSecret: string
  /** A registration whose notice had been delivered, and one whose notice came after the dump. */
  announced: Registered
  announcedLater: Registered
  toBeDisabled: Registered
  toBeDeleted: Registered
  toBeRotated: Registered
  toBeRenamed: Registered
  auditEvents: number
}

/** What happened after the dump. */
interface Since {
  created: Registered
  newSecret: string
  /** The secret that the claim ticket was exchanged for. */
  claimedSecret: string
  /** An assertion of the client with a key that was used. */
  assertion: string
  /** A token of a signing key that was made. */
  token: string
}

export const ISSUER = 'https://auth.example.com'
const RETRIED = { name: 'created once', expiresAt: inDays(30) }

/** Expires after the dump, and soon enough for a test. */
const LATER_MS = 25_000

/** Runs an installation, dumps its database by the command of docs/backup.md while it serves, goes on, and stops it. */
export async function prepare(t: Test): Promise<Stage> {
  const cluster = await startDebianCluster(t)
  const { ownerUrl, servingUrl } = await createInstallation(cluster)
  const receiver = await startWebhookReceiver(t)
  const environment = {
    ...{ ISSUER, DATA_DIR: temporaryFolder(t), KEY_ENCRYPTION_KEY: randomBytes(32).toString('base64') },
    ...{ NOTICE_INTERVAL_SECONDS: '1', NOTICE_WEBHOOK_ALLOW: '127.0.0.1', LOG_LEVEL: 'warn' }
  }
  const { grantd } = await startInstance(t, servingUrl, { ...environment, MIGRATION_DATABASE_URL: ownerUrl })
  const before = await populate(grantd, receiver)
  const folder = commandFolder(t)
  await runCommands(commandsOf('pg_dump'), folder, { MIGRATION_DATABASE_URL: ownerUrl })
  if (noticesOf(receiver, before.announcedLater).length > 0)
    throw new Error('the notice came before the dump had ended')
  const since = await goOn(grantd, before)
  const variables = { ...environment, DATABASE_URL: servingUrl, MIGRATION_DATABASE_URL: ownerUrl }
  await runCommands(commandsOf('--compromised'), folder, variables)
  await until('the later notice', () => noticesOf(receiver, before.announcedLater).length > 0, 2 * LATER_MS)
  const token = await tokenOfNewKey(grantd, before)
  await grantd.close()
  await cluster.stop('SIGINT')
  return {
    folder,
    dumpBytes: statSync(`${folder}/grantd.dump`).size,
    environment,
    receiver,
    before,
    since: { ...since, token }
  }
}

/** Waits until the key of the tokens is another one. */
async function tokenOfNewKey(grantd: Grantd, { client, token }: Before): Promise<string> {
  let latest = token
  await until(
    'a token of the new key',
    async () => {
      latest = String((await grantd.exchange(client)).json().access_token)
      return decodeProtectedHeader(latest).kid !== decodeProtectedHeader(token).kid
    },
    30_000
  )
  return latest
}

async function populate(grantd: Grantd, receiver: WebhookReceiver): Promise<Before> {
  const created = await grantd.asAdmin('POST', '/v1/sites/acme/notice-receivers', {
    body: { kind: 'webhook', url: receiver.url }
  })
  const { signingSecret } = created.json()
  const announcedLater = await grantd.register({ expiresAt: inMs(LATER_MS) })
  const announced = await grantd.register({ expiresAt: inMs(1_500) })
  const rotated = await grantd.register()
  const idempotencyKey = randomUUID()
  const handedOver = await grantd.asAdmin('POST', COLLECTION, {
    body: { name: 'handed over', expiresAt: inDays(30), deliver: 'claim' }
  })
  const client = await grantd.register()
  const before = {
    ...{ client, rotated, announced, announcedLater, idempotencyKey, signingSecret },
    token: String((await grantd.exchange(client)).json().access_token),
    newSecret: String((await grantd.asAdmin('POST', `${rotated.path}/rotate-secret`)).json().clientSecret),
    keyClient: await registerKeyClient(grantd),
    gateway: await grantd.register({ mayIntrospect: true }),
    revokedToken: await revoke(grantd, await obtain(grantd)),
    stoppedToken: await stop(grantd, await obtain(grantd)),
    toBeRevoked: await obtain(grantd),
    toBeStopped: await obtain(grantd),
    ticket: String(handedOver.json().claim.ticket),
    retried: await retry(grantd, idempotencyKey),
    cursor: String((await grantd.asAdmin('GET', `${COLLECTION}?limit=1`)).json().nextCursor),
    calendarPath: new URL((await grantd.asAdmin('PUT', '/v1/sites/acme/calendar-feed')).json().url).pathname,
    receiverPath: String(created.headers.location),
    toBeDisabled: await grantd.register(),
    toBeDeleted: await grantd.register(),
    toBeRotated: await grantd.register(),
    toBeRenamed: await grantd.register()
  }
  await until('the first notice', () => noticesOf(receiver, announced).length > 0)
  return { ...before, auditEvents: await countAuditEvents(grantd) }
}

async function goOn(grantd: Grantd, before: Before): Promise<Omit<Since, 'token'>> {
  const { keyClient, toBeDisabled, toBeDeleted, toBeRenamed, toBeRotated, toBeRevoked, toBeStopped } = before
  await revoke(grantd, toBeRevoked)
  await stop(grantd, toBeStopped)
  await grantd.asAdmin('PATCH', toBeDisabled.path, { body: { enabled: false } })
  await grantd.asAdmin('PATCH', toBeRenamed.path, { body: { name: 'renamed' } })
  await grantd.asAdmin('DELETE', toBeDeleted.path)
  await grantd.exchange(before.client)
  const rotated = await grantd.asAdmin('POST', `${toBeRotated.path}/rotate-secret`, { body: { overlapSeconds: 0 } })
  const assertion = await signAssertion(keyClient.key, claimsOf(keyClient.clientId, ISSUER, Date.now(), lifetime(300)))
  const used = await exchangeAssertion(grantd, assertion)
  if (used.status !== 200) throw new Error(used.text)
  return {
    created: await grantd.register(),
    newSecret: String(rotated.json().clientSecret),
    claimedSecret: String((await claim(grantd, before.ticket)).json().clientSecret),
    assertion
  }
}

/** Returns the claim of an assertion that ends in this many seconds. */
function lifetime(seconds: number): { exp: number } {
  return { exp: Math.floor(Date.now() / 1_000) + seconds }
}

/** Exchanges a claim ticket for its secret. */
export function claim(grantd: Grantd, ticket: string): Promise<Answer> {
  return grantd.send('POST', '/v1/claims', { headers: { authorization: `Bearer ${ticket}` } })
}

/** Registers a client. @returns it with a token */
async function obtain(grantd: Grantd): Promise<{ client: Registered; token: string }> {
  const client = await grantd.register()
  return { client, token: String((await grantd.exchange(client)).json().access_token) }
}

/** Revokes a token as its client (RFC 7009). */
async function revoke(grantd: Grantd, { client, token }: Before['toBeRevoked']): Promise<string> {
  const { status, text } = await grantd.send('POST', '/oauth/revoke', formOf(client, token))
  if (status !== 200) throw new Error(text)
  return token
}

/** Stops all tokens of a registration as an administrator. */
async function stop(grantd: Grantd, { client, token }: Before['toBeStopped']): Promise<string> {
  const { status, text } = await grantd.asAdmin('POST', `${client.path}/revoke-tokens`)
  if (status !== 200) throw new Error(text)
  return token
}

/** Asks about a token (RFC 7662). @param gateway the registration that asks */
export async function isActive(grantd: Grantd, gateway: Registered, token: string): Promise<boolean> {
  return (await grantd.send('POST', '/oauth/introspect', formOf(gateway, token))).json().active
}

function formOf({ clientId, clientSecret }: Registered, token: string): Sending {
  return {
    headers: { authorization: basic(clientId, clientSecret), 'content-type': 'application/x-www-form-urlencoded' },
    body: new URLSearchParams({ token }).toString()
  }
}

/** Creates a registration, or gets the answer of the first try. */
export function retry(grantd: Grantd, idempotencyKey: string): Promise<Answer> {
  return grantd.asAdmin('POST', COLLECTION, { body: RETRIED, headers: { 'idempotency-key': idempotencyKey } })
}

/** Exchanges a new assertion of a client with a key. */
export async function exchangeByKey(grantd: Grantd, { clientId, key }: KeyClient): Promise<Answer> {
  return exchangeAssertion(grantd, await signAssertion(key, claimsOf(clientId, ISSUER, Date.now())))
}

export function exchangeAssertion(grantd: Grantd, assertion: string): Promise<Answer> {
  return grantd.requestToken({ client_assertion_type: ASSERTION_TYPE, client_assertion: assertion })
}

/** Returns the notices of a registration that have come so far. */
export function noticesOf({ received }: WebhookReceiver, { clientId }: Registered): WebhookReceiver['received'] {
  return received.filter(({ event }) => event.subject === clientId)
}

/** Returns how many audit events the Site has. Its events are numbered from 1. */
export async function countAuditEvents(grantd: Grantd): Promise<number> {
  const { items } = (await grantd.asAdmin('GET', `${path.dirname(COLLECTION)}/audit-events?limit=1`)).json()
  return items[0].sequence
}

function inMs(ms: number): string {
  return new Date(Date.now() + ms).toISOString()
}
