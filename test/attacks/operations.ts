import { randomUUID } from 'node:crypto'
import { query } from '../fixtures/app/database.ts'
import type { Grantd } from '../fixtures/app/grantd.ts'
import { tokenOf } from '../fixtures/app/introspection.ts'
import { description } from '../fixtures/app/openapi.ts'
import { inDays } from '../fixtures/app/registration.ts'

/** A registration that an attack is after, and the Site it is of. */
export interface Target {
  siteId: string
  clientId: string
  clientSecret: string
}

/** The parts of a request beside `siteId` and `clientId` of its path. */
interface Making {
  /** Other parameters of the path. */
  params?: Record<string, string>
  /** Sent as JSON. */
  body?: unknown
  form?: Record<string, string>
  headers?: Record<string, string>
}

/**
 * How a good request of each operation is made: a line per operationId. The attacks that go over all of openapi.yaml
 * fail until an operation has its line. A line may use `grantd` to make what its path names beside a registration.
 */
const MAKINGS: Record<string, (target: Target, grantd: Grantd) => Making | Promise<Making>> = {
  exchangeCredentials: ({ clientId, clientSecret }) => ({
    form: { grant_type: 'client_credentials', client_id: clientId, client_secret: clientSecret }
  }),
  rotateOwnSecret: async ({ siteId, clientId, clientSecret }, grantd) => {
    const path = `/v1/sites/${siteId}/app-registrations/${clientId}`
    await grantd.asAdmin('PATCH', path, { body: { selfRotation: true } })
    await query(grantd.databaseUrl, `update registrations set secret_created_at = now() - interval '2 hours'`)
    return { form: { client_id: clientId, client_secret: clientSecret } }
  },
  introspectToken: async ({ siteId, clientId, clientSecret }, grantd) => {
    const path = `/v1/sites/${siteId}/app-registrations/${clientId}`
    await grantd.asAdmin('PATCH', path, { body: { mayIntrospect: true } })
    const token = await tokenOf(grantd, { clientId, clientSecret })
    return { form: { client_id: clientId, client_secret: clientSecret, token } }
  },
  revokeToken: async ({ clientId, clientSecret }, grantd) => ({
    form: {
      ...{ client_id: clientId, client_secret: clientSecret },
      token: await tokenOf(grantd, { clientId, clientSecret })
    }
  }),
  getMetadata: () => ({}),
  getOpenIdConfiguration: () => ({}),
  getJwks: () => ({}),
  createAppRegistration: () => ({ body: { name: 'another', expiresAt: inDays(30) } }),
  listAppRegistrations: () => ({}),
  getAppRegistration: () => ({}),
  changeAppRegistration: () => ({ body: { name: 'renamed' } }),
  deleteAppRegistration: () => ({}),
  listAllAppRegistrations: () => ({}),
  putKeyedAppRegistration: ofKey({ name: 'put again', expiresAt: inDays(30) }),
  getKeyedAppRegistration: ofKey(),
  deleteKeyedAppRegistration: ofKey(),
  rotateClientSecret: () => ({ body: { overlapSeconds: 60 } }),
  retirePreviousCredential: async ({ siteId, clientId }, grantd) => {
    await grantd.asAdmin('POST', `/v1/sites/${siteId}/app-registrations/${clientId}/rotate-secret`)
    return {}
  },
  revokeTokens: () => ({}),
  createClaim: () => ({}),
  claimCredentials: async ({ siteId, clientId }, grantd) => {
    const made = await grantd.asAdmin('POST', `/v1/sites/${siteId}/app-registrations/${clientId}/claim`)
    return { headers: { authorization: `Bearer ${made.json().ticket}` } }
  },
  diagnoseAppRegistration: () => ({}),
  reportSecrets: ({ clientSecret }) => ({ body: { secrets: [{ secret: clientSecret }] } }),
  lookUpSecrets: ({ clientSecret }) => ({ body: { secrets: [{ secret: clientSecret }] } }),
  listNotices: () => ({}),
  retryNoticeDelivery: async ({ siteId, clientId }, grantd) => ({
    params: await insertDeadDelivery(grantd, siteId, clientId)
  }),
  createNoticeReceiver: () => ({ body: RECEIVER }),
  listNoticeReceivers: () => ({}),
  getNoticeReceiver: ofReceiver(),
  changeNoticeReceiver: ofReceiver({ steps: [0] }),
  deleteNoticeReceiver: ofReceiver(),
  rotateNoticeReceiverSecret: ofReceiver(),
  testNoticeReceiver: ofReceiver(),
  listAlerts: () => ({}),
  listAllAlerts: () => ({}),
  getExpirationCalendar: () => ({}),
  replaceCalendarFeed: () => ({}),
  revokeCalendarFeed: async (target, grantd) => {
    await makeFeed(target, grantd)
    return {}
  },
  getCalendarFeed: async (target, grantd) => ({ params: { key: await makeFeed(target, grantd) } }),
  listAuditEvents: () => ({}),
  listAuditEventsOfAllSites: () => ({}),
  getLiveness: () => ({}),
  getReadiness: () => ({})
}

/** The callers that an operation is for, by the shape of its path and its security in openapi.yaml. */
export type Scope = 'one Site' | 'all Sites' | 'clients' | 'ticket holders' | 'anybody'

export interface OperationRequest {
  path: string
  headers: Record<string, string>
  /** Empty for none. */
  body: string
}

export class Operation {
  readonly id: string
  readonly method: string
  readonly template: string
  readonly scope: Scope

  constructor(id: string, method: string, template: string, scope: Scope) {
    this.id = id
    this.method = method
    this.template = template
    this.scope = scope
  }

  /** Makes a good request, without the credentials of its sender. @throws Error when no line says how to make it */
  async request(target: Target, grantd: Grantd): Promise<OperationRequest> {
    const make = MAKINGS[this.id]
    if (make === undefined) throw new Error(`test/attacks/operations.ts has no line for ${this.id}`)
    const { params = {}, body, form, headers = {} } = await make(target, grantd)
    const known: Record<string, string> = { ...params, siteId: target.siteId, clientId: target.clientId }
    const path = this.template.replaceAll(/\{(\w+)\}/g, (_, name: string) => {
      const value = known[name]
      if (value === undefined) throw new Error(`the line of ${this.id} gives no ${name}`)
      return value
    })
    if (form !== undefined) {
      const type = { 'content-type': 'application/x-www-form-urlencoded' }
      return { path, headers: { ...type, ...headers }, body: new URLSearchParams(form).toString() }
    }
    if (body === undefined) return { path, headers, body: '' }
    return { path, headers: { 'content-type': 'application/json', ...headers }, body: JSON.stringify(body) }
  }

  /** The first status of success that openapi.yaml declares. */
  get success(): number {
    const responses = description.paths[this.template]?.[this.method.toLowerCase()]?.responses ?? {}
    return Number(Object.keys(responses).find(status => status.startsWith('2')))
  }
}

const METHODS = ['get', 'put', 'post', 'patch', 'delete', 'options', 'head', 'trace']

/** Every operation of openapi.yaml. */
export const OPERATIONS: readonly Operation[] = Object.entries(description.paths).flatMap(([template, verbs]) =>
  Object.entries(verbs)
    .filter(([verb]) => METHODS.includes(verb))
    .map(([verb, { operationId, security }]) => {
      return new Operation(operationId, verb.toUpperCase(), template, scopeOf(template, security))
    })
)

/** Ids of operations without a line, and of lines without an operation. */
export function mismatches(): string[] {
  const described = OPERATIONS.map(({ id }) => id)
  const lines = Object.keys(MAKINGS)
  return [...described.filter(id => !lines.includes(id)), ...lines.filter(id => !described.includes(id))]
}

/** Nothing is sent to it before it is used, and then it leads nowhere: see `ofReceiver`. */
const RECEIVER = { kind: 'webhook', url: 'https://8.8.8.8/' }

/** A request on a receiver of the Site that no request of grantd's ever leaves the machine for. */
function ofReceiver(body?: unknown) {
  return async ({ siteId }: Target, grantd: Grantd): Promise<Making> => {
    const made = await grantd.asAdmin('POST', `/v1/sites/${siteId}/notice-receivers`, { body: RECEIVER })
    const { receiverId } = made.json()
    if (typeof receiverId !== 'string') throw new Error(`no receiver: ${made.text}`)
    await query(grantd.databaseUrl, 'update notice_receivers set target = $2 where id = $1', [
      receiverId,
      { url: 'https://localhost/' }
    ])
    return { params: { receiverId }, body }
  }
}

/** A request on a registration of the Site that has a key. */
function ofKey(body?: unknown) {
  return async ({ siteId }: Target, grantd: Grantd): Promise<Making> => {
    const params = { key: 'service-17' }
    const path = `/v1/sites/${siteId}/keyed-app-registrations/${params.key}?allowShorter=true`
    const put = await grantd.asAdmin('PUT', path, { body: { name: 'keyed', expiresAt: inDays(20) } })
    if (put.status >= 300) throw new Error(`not put: ${put.text}`)
    return { params, body }
  }
}

/** Makes a calendar feed of the Site. @returns its key */
async function makeFeed({ siteId }: Target, grantd: Grantd): Promise<string> {
  const made = await grantd.asAdmin('PUT', `/v1/sites/${siteId}/calendar-feed`)
  const [key] = /[\w-]{43}(?=\.ics$)/.exec(made.json().url) ?? []
  if (key === undefined) throw new Error(`no feed: ${made.text}`)
  return key
}

/** Inserts a dead delivery of a notice of this registration. No configuration here has its receiver. */
async function insertDeadDelivery(
  { databaseUrl }: Grantd,
  siteId: string,
  clientId: string
): Promise<Record<string, string>> {
  const [noticeId, deliveryId] = [randomUUID(), randomUUID()]
  await query(
    databaseUrl,
    `insert into notices (id, site_id, client_id, name, enabled, expires_at, step, fired_at)
     select $1, $2, client_id, name, enabled, expires_at, 30, now() from registrations where client_id = $3`,
    [noticeId, siteId, clientId]
  )
  await query(
    databaseUrl,
    `insert into notice_deliveries (id, notice_id, site_id, kind, state, attempts, due_at)
     values ($1, $2, $3, 'webhook', 'dead', 10, now())`,
    [deliveryId, noticeId, siteId]
  )
  return { noticeId, deliveryId }
}

function scopeOf(template: string, security: readonly Record<string, unknown>[] | undefined): Scope {
  if (template.startsWith('/v1/sites/{siteId}/')) return 'one Site'
  if (security?.length === 0) return 'anybody'
  if (security?.some(way => 'claimTicket' in way)) return 'ticket holders'
  if (template.startsWith('/v1/')) return 'all Sites'
  if (security?.some(way => 'client' in way)) return 'clients'
  throw new Error(`who may call ${template}?`)
}
