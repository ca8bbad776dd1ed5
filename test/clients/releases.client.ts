import path from 'node:path'
import { pathToFileURL } from 'node:url'
import { decodeJwt } from 'jose'
import t, { type Test } from 'tap'
import { RELEASES } from '../contract/document.ts'
import { startApp } from '../fixtures/app/app.ts'
import type { Json } from '../fixtures/app/grantd.ts'
import { inDays } from '../fixtures/app/registration.ts'
import { ROOT } from '../fixtures/run/paths.ts'

/** `npm run test:clients` puts the code here that swagger-typescript-api makes of each release. */
const OUTPUT = path.join(ROOT, 'node_modules/.cache/clients/generated')

for (const version of RELEASES.keys()) {
  t.test(`a client that was generated from release ${version} does all its work with the service of today`, async t => {
    const grantd = await startApp(t)
    const { Api } = await import(pathToFileURL(path.join(OUTPUT, `release-${version}.js`)).href)
    const authorization = `Bearer ${await grantd.adminToken(['*'])}`
    const client = new Client(
      new Api({ baseUrl: grantd.baseUrl, securityWorker: () => ({ headers: { authorization } }) })
    )
    const stranger = new Client(new Api({ baseUrl: grantd.baseUrl }))

    await administer(t, client, stranger)
    await notify(t, client)
    t.match(await client.call('listAuditEvents', 'acme', { limit: 100 }), { items: Array })
    t.match(await client.call('listAuditEventsOfAllSites', { siteId: 'acme' }), { items: Array })
    t.match(await stranger.call('getMetadata'), {
      issuer: grantd.baseUrl,
      token_endpoint: `${grantd.baseUrl}/oauth/token`
    })
    t.match(await stranger.call('getJwks'), { keys: [{ kty: 'EC' }] })
    t.same(await stranger.call('getLiveness'), { status: 'ok' })
    t.same(await stranger.call('getReadiness'), { status: 'ok' })

    const called = new Set([...client.called, ...stranger.called])
    t.same([...called].sort(), client.methods.sort(), 'every method of the client was called')
  })
}

/** A generated client, whose methods are found by their names. */
class Client {
  readonly called = new Set<string>()
  readonly #methods: Readonly<Record<string, (...args: readonly unknown[]) => Promise<Json>>>

  constructor(api: object) {
    const groups = Object.values(api).filter(group => typeof group === 'object' && group !== null)
    const members = groups.flatMap(Object.entries).filter(([, member]) => typeof member === 'function')
    // Beside operations, the client has functions by media type.
    const methods = members.filter(([name]) => /^\w+$/.test(name))
    this.#methods = Object.fromEntries(methods)
  }

  get methods(): string[] {
    return Object.keys(this.#methods)
  }

  /** Returns the data of the answer. @throws the answer when it is a refusal */
  async call(name: string, ...args: readonly unknown[]): Promise<Json> {
    this.called.add(name)
    const method = this.#methods[name]
    if (method === undefined) throw new Error(`the client has no method ${name}`)
    return (await method(...args)).data
  }
}

/** The life of a registration, from its creation to its deletion. */
async function administer(t: Test, client: Client, stranger: Client): Promise<void> {
  const body = { name: 'Device sync', expiresAt: inDays(20), scopes: ['devices:read'] }
  const { clientId, clientSecret } = await client.call('createAppRegistration', 'acme', body)
  const exchange = (client_secret: string) =>
    stranger.call('exchangeCredentials', { grant_type: 'client_credentials', client_id: clientId, client_secret })
  t.match(decodeJwt((await exchange(clientSecret)).access_token), { client_id: clientId, scope: 'devices:read' })
  const page = { items: [{ clientId, credential: { kind: 'secret' }, previousCredential: null }], nextCursor: null }
  t.match(await client.call('listAppRegistrations', 'acme', { sort: 'name', order: 'desc', search: 'sync' }), page)
  t.match(await client.call('listAllAppRegistrations', { siteId: 'acme' }), page)
  t.match(await client.call('listAlerts', 'acme'), { items: [] })
  t.match(await client.call('listAllAlerts', { siteId: 'acme' }), { items: [] })
  t.match(await client.call('changeAppRegistration', 'acme', clientId, { name: 'renamed' }), { name: 'renamed' })

  const rotated = await client.call('rotateClientSecret', 'acme', clientId, { overlapSeconds: 60 })
  for (const secret of [clientSecret, rotated.clientSecret]) t.match(await exchange(secret), { token_type: 'Bearer' })
  await client.call('retirePreviousCredential', 'acme', clientId)
  t.match(await refusal(exchange(clientSecret)), { status: 401, error: { error: 'invalid_client' } })
  t.match(await client.call('getAppRegistration', 'acme', clientId), { name: 'renamed', previousCredential: null })
  await client.call('deleteAppRegistration', 'acme', clientId)
  const gone = client.call('getAppRegistration', 'acme', clientId)
  t.match(await refusal(gone), { status: 404, error: { code: 'not_found' } })
}

/** Receivers, notices and the calendar. */
async function notify(t: Test, client: Client): Promise<void> {
  const receiver = { kind: 'webhook', url: 'https://8.8.8.8/', steps: [30] }
  const { receiverId, signingSecret } = await client.call('createNoticeReceiver', 'acme', receiver)
  t.match(signingSecret, /^whsec_/)
  t.match(await client.call('listNoticeReceivers', 'acme'), { items: [{ receiverId, kind: 'webhook' }] })
  t.match(await client.call('getNoticeReceiver', 'acme', receiverId), { steps: [30] })
  t.match(await client.call('changeNoticeReceiver', 'acme', receiverId, { steps: [7] }), { steps: [7] })
  t.match(await client.call('rotateNoticeReceiverSecret', 'acme', receiverId), { signingSecret: /^whsec_/ })
  await client.call('deleteNoticeReceiver', 'acme', receiverId)
  t.match(await refusal(client.call('testNoticeReceiver', 'acme', receiverId)), { status: 404 })

  t.match(await client.call('listNotices', 'acme'), { items: [], nextCursor: null })
  const unknown = '00000000-0000-4000-8000-000000000000'
  const retried = client.call('retryNoticeDelivery', 'acme', unknown, unknown)
  t.match(await refusal(retried), { error: { code: 'not_found' } })
  // The client leaves the reading of a calendar to its caller.
  await client.call('getExpirationCalendar', 'acme')
}

/** Returns the answer that a generated client throws. */
async function refusal(called: Promise<Json>): Promise<Json> {
  return called.then(
    data => data,
    error => error
  )
}
