import { randomBytes } from 'node:crypto'
import { createLocalJWKSet, type JSONWebKeySet, jwtVerify } from 'jose'
import { Webhook } from 'standardwebhooks'
import root, { type Test } from 'tap'
import { freePort } from '../fixtures/app/app.ts'
import { type Answer, type Grantd, send } from '../fixtures/app/grantd.ts'
import { COLLECTION } from '../fixtures/app/registration.ts'
import { leftOutFor } from '../fixtures/faults/debian.ts'
import { DEBIAN_POSTGRES_NEEDS } from '../fixtures/faults/debian-postgres.ts'
import { startInstance } from '../fixtures/run/instance.ts'
import { spawnServer } from '../fixtures/run/process.ts'
import { until } from '../fixtures/run/until.ts'
import {
  claim,
  countAuditEvents,
  exchangeAssertion,
  exchangeByKey,
  ISSUER,
  isActive,
  noticesOf,
  prepare,
  retry,
  type Stage
} from './backup/stage.ts'
import { commandsOf, createInstallation, type Installation, runCommands, startDebianCluster } from './installation.ts'

/** The drill of docs/backup.md. Each test restores the same dump elsewhere, by the commands of the page. */

const skip = leftOutFor(DEBIAN_POSTGRES_NEEDS)
let prepared: Promise<Stage> | undefined

/** Restores the dump into an empty database of a new cluster. @param name of the database */
async function restore(t: Test, name?: string): Promise<{ stage: Stage; installation: Installation }> {
  prepared ??= prepare(root)
  const stage = await prepared
  const installation = await createInstallation(await startDebianCluster(t), name)
  await runCommands(commandsOf('pg_restore'), stage.folder, variablesOf(installation))
  return { stage, installation }
}

function variablesOf({ ownerUrl, servingUrl }: Installation): Record<string, string> {
  return { DATABASE_URL: servingUrl, MIGRATION_DATABASE_URL: ownerUrl }
}

interface Restored {
  grantd: Grantd
  /** Returns how many secrets were verified by Argon2. */
  argon2Runs: () => Promise<number>
}

async function serve(t: Test, installation: Installation, environment: Record<string, string>): Promise<Restored> {
  const METRICS_PORT = String(await freePort())
  const { grantd } = await startInstance(t, installation.servingUrl, { ...environment, METRICS_PORT })
  const argon2Runs = async () => {
    const { text } = await send('GET', `http://127.0.0.1:${METRICS_PORT}/metrics`)
    return Number(/^grantd_argon2_total\{gate="token"\} (\d+)$/m.exec(text)?.[1])
  }
  return { grantd, argon2Runs }
}

async function verifies(grantd: Grantd, token: string): Promise<boolean> {
  const keys: JSONWebKeySet = (await grantd.send('GET', '/.well-known/jwks.json')).json()
  return jwtVerify(token, createLocalJWKSet(keys), { issuer: ISSUER, typ: 'at+jwt' }).then(
    () => true,
    () => false
  )
}

/** Claims the ticket. @returns the answer to an exchange with the secret that it was for */
async function claimAndExchange(grantd: Grantd, ticket: string): Promise<Answer> {
  return grantd.exchange((await claim(grantd, ticket)).json())
}

/** Would a report of this leaked secret find its registration? */
async function isFound(grantd: Grantd, { clientSecret }: { clientSecret: string }): Promise<boolean> {
  const { results } = (
    await grantd.asAdmin('POST', '/v1/secret-lookups', { body: { secrets: [{ secret: clientSecret }] } })
  ).json()
  return results[0].isFound
}

/** Has grantd send a test event, whose signature must be right. */
async function testReceiver(
  t: Test,
  grantd: Grantd,
  { before, receiver }: Stage,
  signingSecret: string
): Promise<void> {
  t.match((await grantd.asAdmin('POST', `${before.receiverPath}/test`)).json(), { delivered: true })
  const sent = receiver.received.findLast(({ event }) => event.type === 'com.grantd.notice-receiver.test')
  t.same(sent && new Webhook(signingSecret).verify(sent.body, sent.headers), sent?.event)
}

root.test('a dump that is restored elsewhere serves on as if nothing had happened (spec 61)', { skip }, async t => {
  const { stage, installation } = await restore(t)
  const { before, environment, receiver } = stage
  const verified = await runCommands('npm run --silent audit:verify', stage.folder, variablesOf(installation))
  t.equal(verified.trim(), `Sites: 1, events: ${before.auditEvents}, Sites with a fault: 0`)

  t.comment(`${stage.dumpBytes} bytes restored. audit:verify: ${verified.trim()}`)
  const { grantd, argon2Runs } = await serve(t, installation, environment)
  t.ok(await verifies(grantd, before.token), 'a token from before verifies')
  t.ok(await isActive(grantd, before.gateway, before.token))
  for (const token of [before.revokedToken, before.stoppedToken]) {
    t.notOk(await isActive(grantd, before.gateway, token), 'a token that was revoked stays revoked')
  }
  for (const client of [before.client, before.rotated, { ...before.rotated, clientSecret: before.newSecret }]) {
    t.equal((await grantd.exchange(client)).status, 200, 'a secret works, and so does a previous one')
  }
  t.equal((await exchangeByKey(grantd, before.keyClient)).status, 200, 'a key works')
  t.equal((await claimAndExchange(grantd, before.ticket)).status, 200, 'a claim ticket works')
  t.equal(await argon2Runs(), 0, 'MACs verify the secrets')

  t.equal((await retry(grantd, before.idempotencyKey)).text, before.retried.text, 'a retry gets the first answer')
  t.equal((await grantd.asAdmin('GET', `${COLLECTION}?limit=1&cursor=${before.cursor}`)).status, 200)
  await testReceiver(t, grantd, stage, before.signingSecret)

  // The same sweep finds both. The later one had fired after the dump.
  await until('the later notice comes again', () => noticesOf(receiver, before.announcedLater).length === 2)
  t.equal(noticesOf(receiver, before.announced).length, 1, 'a notice that was delivered does not fire again')
  await grantd.close()
})

root.test('a restore forgets what happened since the dump, and the page says what', { skip }, async t => {
  const { stage, installation } = await restore(t)
  const { before, since, environment, receiver } = stage
  const later = () => noticesOf(receiver, before.announcedLater)
  const [first] = later()
  const count = later().length
  const { grantd } = await serve(t, installation, environment)
  t.equal(await countAuditEvents(grantd), before.auditEvents)
  t.equal((await grantd.exchange(since.created)).status, 401, 'a registration is gone')
  t.equal((await grantd.exchange(before.toBeDisabled)).status, 200, 'a disabled one is enabled')
  t.equal((await grantd.exchange(before.toBeDeleted)).status, 200, 'a deleted one is back')
  t.equal((await grantd.exchange(before.toBeRotated)).status, 200, 'an old secret works')
  t.equal((await grantd.exchange({ ...before.toBeRotated, clientSecret: since.newSecret })).status, 401)
  t.match((await grantd.asAdmin('GET', before.toBeRenamed.path)).json(), { name: 'a service' }, 'an old field is back')
  t.match((await grantd.asAdmin('GET', before.client.path)).json(), { exchangeCount: 1 }, 'exchanges are not counted')
  const { clientId, clientSecret } = (await claim(grantd, before.ticket)).json()
  t.equal((await grantd.exchange({ clientId, clientSecret })).status, 200, 'a ticket can be claimed again')
  t.equal((await grantd.exchange({ clientId, clientSecret: since.claimedSecret })).status, 401)
  t.equal((await exchangeAssertion(grantd, since.assertion)).status, 200, 'a used assertion works once more')
  t.equal((await exchangeAssertion(grantd, since.assertion)).status, 401)
  t.notOk(await verifies(grantd, since.token), 'a token of a newer key is refused')
  await until('the later notice comes again', () => later().length === count + 1)
  t.not(later().at(-1)?.headers['webhook-id'], first?.headers['webhook-id'], 'as an event of its own')

  t.ok(await verifies(grantd, before.token))
  const revoked = [before.toBeRevoked.token, before.toBeStopped.token]
  for (const token of revoked) t.ok(await isActive(grantd, before.gateway, token), 'a revoked token is active again')
  const { KEY_ENCRYPTION_KEY = '', DATA_DIR = '' } = environment
  const variables = { ...variablesOf(installation), KEY_ENCRYPTION_KEY, DATA_DIR }
  await runCommands(commandsOf('--compromised'), stage.folder, variables)
  await until('no token from before verifies', async () => !(await verifies(grantd, before.token)), 30_000)
  for (const token of revoked) t.notOk(await isActive(grantd, before.gateway, token), 'and is ended')
  t.equal((await grantd.exchange(before.client)).status, 200)
  await grantd.close()
})

root.test('without KEY_ENCRYPTION_KEY exactly what the page lists is lost, and no Client secret', { skip }, async t => {
  // Another name, and so another serving role.
  const { stage, installation } = await restore(t, 'elsewhere')
  const { before } = stage
  const environment: Stage['environment'] = {
    ...stage.environment,
    KEY_ENCRYPTION_KEY: randomBytes(32).toString('base64')
  }
  const refused = await spawnServer(t, { ...environment, DATABASE_URL: installation.servingUrl })
  t.equal(await refused.exited, 1)
  t.match(refused.output(), /grantd does not start: KEY_ENCRYPTION_KEY /, 'nothing is made under a wrong key')

  const { KEY_ENCRYPTION_KEY = '', DATA_DIR = '' } = environment
  const variables = { ...variablesOf(installation), KEY_ENCRYPTION_KEY, DATA_DIR }
  await runCommands(commandsOf('--compromised'), stage.folder, variables)
  const { grantd, argon2Runs } = await serve(t, installation, environment)
  t.notOk(await verifies(grantd, before.token), 'tokens from before')
  t.equal((await retry(grantd, before.idempotencyKey)).status, 201)
  const again = (await retry(grantd, before.idempotencyKey)).json()
  t.not(again.clientId, before.retried.json().clientId, 'answers that were kept for retries')
  const listing = await grantd.asAdmin('GET', `${COLLECTION}?limit=1&cursor=${before.cursor}`)
  t.equal(listing.status, 400, 'cursors')
  t.match((await grantd.asAdmin('POST', `${before.receiverPath}/test`)).json(), { delivered: false }, 'signing secrets')
  t.notOk(await isFound(grantd, before.client), 'the digest by which a leaked secret is found')

  for (const client of [before.client, before.rotated, { ...before.rotated, clientSecret: before.newSecret }]) {
    t.equal((await grantd.exchange(client)).status, 200, 'a secret works, and so does a previous one')
    t.equal((await grantd.exchange(client)).status, 200)
  }
  t.equal(await argon2Runs(), 3, 'once each by Argon2')
  t.ok(await isFound(grantd, before.client), 'an exchange brings the digest back')
  t.equal((await exchangeByKey(grantd, before.keyClient)).status, 200, 'a key works')
  t.equal((await claimAndExchange(grantd, before.ticket)).status, 200, 'a claim ticket works')
  const { signingSecret } = (await grantd.asAdmin('POST', `${before.receiverPath}/rotate-secret`)).json()
  await testReceiver(t, grantd, stage, signingSecret)
  t.equal((await grantd.send('GET', before.calendarPath)).status, 200, 'the calendar')
  const verified = await runCommands('npm run --silent audit:verify', stage.folder, variables)
  t.match(verified, /Sites with a fault: 0$/m)
  await grantd.close()
})
