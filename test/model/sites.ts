import { strict as assert } from 'node:assert'
import { randomUUID } from 'node:crypto'
import { registrationState } from '../../src/registrations/lifecycle.ts'
import type { Json } from '../fixtures/app/grantd.ts'
import {
  administer,
  type Command,
  chosen,
  command,
  hasAny,
  instanceOf,
  instantOf,
  type Model,
  type Modelled,
  madeAt,
  pathOf,
  type Site
} from './model.ts'

/** What an administrator sees of a Site, and of another's. */

/** An administrator of one Site tries everything on a registration of the other, under the path of each Site. */
export function trespass(at: number, which: number): Command {
  const run: Command['run'] = async (model, real) => {
    const registration = chosen(model, at)
    const as = registration.site === 'acme' ? 'globex' : 'acme'
    const inOwn = pathOf(real, { ...registration, site: as })
    const bodies: [string, unknown][] = [
      ['GET', undefined],
      ['PATCH', { enabled: !registration.enabled, name: 'taken over' }],
      ['DELETE', undefined]
    ]
    for (const path of [pathOf(real, registration), inOwn]) {
      for (const [method, body] of bodies) {
        assert.equal((await administer(model, real, which, as, method, path, body)).status, 404)
      }
      assert.equal((await administer(model, real, which, as, 'POST', `${path}/rotate-secret`)).status, 404)
      assert.equal((await administer(model, real, which, as, 'DELETE', `${path}/previous-credential`)).status, 404)
    }
  }
  return command(`trespass on ${at} at ${which}`, run, hasAny)
}

export function list(of: Site, which: number): Command {
  return command(`list ${of} at ${which}`, async (model, real) => {
    const { now } = instanceOf(real, which)
    const path = `/v1/sites/${real.siteIds[of]}/app-registrations?limit=200`
    const { items } = (await administer(model, real, which, of, 'GET', path)).json()
    const expected = listed(model, of)
    assert.deepEqual(
      items.map(
        ({ registeredAt: _, expiresInDays: __, credential, previousCredential, tokensValidFrom, ...rest }: Json) => ({
          ...rest,
          hasCutOff: tokensValidFrom !== null,
          secretCreatedAt: credential.createdAt,
          hasPrevious: previousCredential !== null
        })
      ),
      expected.map(
        ({
          clientId,
          key,
          name,
          enabled,
          scopes,
          audiences,
          expiresAt,
          lastUsedAt,
          exchangeCount,
          hasCutOff,
          ...secrets
        }) => ({
          ...{ clientId, key, name, enabled, scopes, audiences, hasCutOff, ...UNCHANGED },
          secretCreatedAt: instantOf(secrets.secretCreatedAt),
          hasPrevious: secrets.previous !== undefined && now() < secrets.previous.expiresAt,
          expiresAt: instantOf(expiresAt),
          lastUsedAt: instantOf(lastUsedAt),
          exchangeCount,
          state: registrationState(expiresAt, now())
        })
      )
    )
  })
}

/** Members that no command changes. */
const UNCHANGED = {
  ...{ tokenLifetimeSeconds: null, dpopBound: false, mayIntrospect: false },
  ...{ mayIdle: false, selfRotation: false, disabledReason: null, unclaimed: false }
}

/** Returns what the list of a Site has, in its order: by name, then by client id. */
function listed({ registrations }: Model, of: Site): Modelled[] {
  return registrations
    .filter(({ site, isDeleted }) => site === of && !isDeleted)
    .sort((one, other) => compare(one.name, other.name) || compare(one.clientId, other.clientId))
}

function compare(one: string, other: string): number {
  return one < other ? -1 : Number(one > other)
}

/** Reads all pages of a Site's registrations. Together they are the list, in its order. */
export function page(of: Site, limit: number, which: number): Command {
  return command(`page ${of} by ${limit} at ${which}`, async (model, real) => {
    const seen: string[] = []
    let cursor: string | undefined
    do {
      const query = new URLSearchParams({ limit: String(limit), ...(cursor !== undefined && { cursor }) })
      const path = `/v1/sites/${real.siteIds[of]}/app-registrations?${query}`
      const { items, nextCursor } = (await administer(model, real, which, of, 'GET', path)).json()
      assert(items.length <= limit)
      seen.push(...items.map(({ clientId }: Json) => clientId))
      cursor = nextCursor ?? undefined
    } while (cursor !== undefined)
    assert.deepEqual(
      seen,
      listed(model, of).map(({ clientId }) => clientId)
    )
  })
}

/** Changes with an If-Match of now and then with the same one again, which is stale by then. */
export function changeOnce(at: number, name: string, which: number): Command {
  const run: Command['run'] = async (model, real) => {
    const registration = chosen(model, at)
    if (registration.isDeleted) return
    const path = pathOf(real, registration)
    const send = (method: string, body?: unknown, headers = {}) =>
      administer(model, real, which, registration.site, method, path, body, headers)
    const headers = { 'if-match': String((await send('GET')).headers['etag']) }
    const named = `${name} ${randomUUID()}`
    assert.equal((await send('PATCH', { name: named }, headers)).status, 200)
    registration.name = named
    assert.equal((await send('PATCH', { name: 'lost update' }, headers)).status, 412)
    assert.equal((await send('DELETE', undefined, headers)).status, 412)
    assert.equal((await send('GET')).json().name, named)
  }
  return command(`change ${at} with If-Match at ${which}`, run, hasAny)
}

/** Creates with an Idempotency-Key, and tries again on the other instance: one registration, and one secret. */
export function createTwice(of: Site, ms: number, which: number): Command {
  return command(`create twice in ${of} at ${which}`, async (model, real) => {
    const { now } = instanceOf(real, which)
    const [name, expiresAt] = [`twice ${randomUUID()}`, now() + ms]
    const collection = `/v1/sites/${real.siteIds[of]}/app-registrations`
    const headers = { 'idempotency-key': randomUUID() }
    const body = { name, expiresAt: new Date(expiresAt).toISOString() }
    const first = await administer(model, real, which, of, 'POST', collection, body, headers)
    const second = await administer(model, real, 1 - which, of, 'POST', collection, body, headers)
    assert.equal(first.status, 201, first.text)
    assert.deepEqual(second.json(), first.json())
    const other = await administer(model, real, which, of, 'POST', collection, { ...body, name: 'other' }, headers)
    assert.equal(other.status, 422, other.text)
    const { clientId, clientSecret } = first.json()
    model.registrations.push({
      ...{ site: of, key: null, clientId, clientSecret, name, enabled: true, scopes: [], audiences: [], expiresAt },
      ...madeAt(now())
    })
  })
}

/** Subscribes a receiver of a Site. The other Site does not see it, and cannot delete it. */
export function subscribe(of: Site, which: number): Command {
  return command(`subscribe in ${of} at ${which}`, async (model, real) => {
    const other = of === 'acme' ? 'globex' : 'acme'
    const collection = (site: Site) => `/v1/sites/${real.siteIds[site]}/notice-receivers`
    const body = { kind: 'webhook', url: `${real.receiverUrl}?${randomUUID()}` }
    const made = await administer(model, real, which, of, 'POST', collection(of), body)
    assert.equal(made.status, 201, made.text)
    const { receiverId } = made.json()
    model.receivers.push({ site: of, receiverId })
    for (const site of [of, other] as const) {
      const path = `${collection(site)}/${receiverId}`
      assert.equal((await administer(model, real, which, other, 'GET', path)).status, 404)
      assert.equal((await administer(model, real, which, other, 'DELETE', path)).status, 404)
      const { items } = (await administer(model, real, 1 - which, site, 'GET', collection(site))).json()
      const expected = model.receivers.filter(each => each.site === site).map(each => each.receiverId)
      assert.deepEqual(items.map(({ receiverId: id }: Json) => id).sort(), expected.sort())
    }
  })
}

/** Reads the notices and the alerts of a Site. They are about its own registrations, and each notice is there once. */
export function readNotices(of: Site, which: number): Command {
  return command(`notices of ${of} at ${which}`, async (model, real) => {
    const own = new Set(model.registrations.filter(({ site }) => site === of).map(({ clientId }) => clientId))
    for (const list of ['notices', 'alerts']) {
      const path = `/v1/sites/${real.siteIds[of]}/${list}`
      const { items } = (await administer(model, real, which, of, 'GET', path)).json()
      for (const { clientId } of items) assert(own.has(clientId), `${list} of another Site`)
      const keys = items.map(({ clientId, step, expiresAt }: Json) => `${clientId} ${step} ${expiresAt}`)
      assert.equal(new Set(keys).size, keys.length, `one of the ${list} is there twice`)
    }
  })
}
