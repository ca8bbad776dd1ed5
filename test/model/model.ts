import { strict as assert } from 'node:assert'
import type fc from 'fast-check'
import type { Clock } from '../fixtures/app/app.ts'
import type { Answer, Grantd } from '../fixtures/app/grantd.ts'
import { DAY_MS } from '../fixtures/app/registration.ts'

/** The model of two Sites, and what every command of it needs. */

/** The expected state of a registration. It is kept after a delete. */
export interface Modelled {
  site: Site
  key: string | null
  clientId: string
  clientSecret: string
  secretCreatedAt: number
  /** Latest exchange with it. */
  secretUsedAt: number | null
  /** The secret before the latest rotation. */
  previous: { clientSecret: string; expiresAt: number } | undefined
  /** Secrets that must not work any more. */
  replaced: string[]
  name: string
  enabled: boolean
  /** Whether its tokens were stopped once, by a change of `enabled` or by a renewal: see `moveExpiry`. */
  hasCutOff: boolean
  scopes: string[]
  audiences: string[]
  registeredAt: number
  expiresAt: number
  /** When `expiresAt` got its value. */
  expirySetAt: number
  lastUsedAt: number | null
  exchangeCount: number
  isDeleted: boolean
}

/** Returns what a registration has when it is made at this time. */
export function madeAt(now: number) {
  return {
    ...{
      registeredAt: now,
      expirySetAt: now,
      secretCreatedAt: now,
      secretUsedAt: null,
      previous: undefined,
      replaced: []
    },
    ...{ lastUsedAt: null, exchangeCount: 0, hasCutOff: false, isDeleted: false }
  }
}

/**
 * Moves the expiry as a change at this time does. A renewal stops old tokens when the registration has expired by the clock
 * of the database, which no command moves, and a change had brought that expiry to within a day.
 */
export function moveExpiry(registration: Modelled, expiresAt: number, now: number): void {
  const { expiresAt: before, expirySetAt, registeredAt } = registration
  if (expiresAt === before) return
  const wasBroughtForward = expirySetAt !== registeredAt && before < expirySetAt + DAY_MS
  registration.hasCutOff ||= wasBroughtForward && before <= Date.now()
  Object.assign(registration, { expiresAt, expirySetAt: now })
}

export const SITES = ['acme', 'globex'] as const
export type Site = (typeof SITES)[number]
export interface Model {
  registrations: Modelled[]
  receivers: { site: Site; receiverId: string }[]
}

/** One of two instances on one database. The clock of the second is behind. */
export interface Instance {
  grantd: Grantd
  now: () => number
}

export interface Real {
  instances: readonly Instance[]
  clock: Clock
  /** Each run has Sites of its own. */
  siteIds: Record<Site, string>
  /** A webhook on loopback. */
  receiverUrl: string
}

export type Command = fc.AsyncCommand<Model, Real>

export function command(
  label: string,
  run: Command['run'],
  isPossible: (model: Model) => boolean = () => true
): Command {
  return { check: model => isPossible(model), run, toString: () => label }
}

export const hasAny = ({ registrations }: Model): boolean => registrations.length > 0

/** Returns a registration, which may be deleted. */
export function chosen({ registrations }: Model, at: number): Modelled {
  const found = registrations[at % registrations.length]
  if (found === undefined) throw new Error('nothing to choose from')
  return found
}

export function instanceOf({ instances }: Real, which: number): Instance {
  const found = instances[which]
  if (found === undefined) throw new Error('no such instance')
  return found
}

/** Returns all secrets that the registration has ever had. */
export function secretsOf({ clientSecret, previous, replaced }: Modelled): string[] {
  return [clientSecret, ...(previous === undefined ? [] : [previous.clientSecret]), ...replaced]
}

/** Sends a request as an administrator of one Site. No answer may have a secret that an earlier answer has had. */
export async function administer(
  model: Model,
  real: Real,
  which: number,
  as: Site,
  method: string,
  path: string,
  body?: unknown,
  headers: Record<string, string> = {}
): Promise<Answer> {
  const { grantd } = instanceOf(real, which)
  const answer = await grantd.asAdmin(method, path, { sites: [real.siteIds[as]], body, headers })
  for (const secret of model.registrations.flatMap(secretsOf)) {
    assert(!answer.text.includes(secret), 'a secret seen twice')
  }
  return answer
}

export function pathOf(real: Real, { site, clientId }: Modelled): string {
  return `/v1/sites/${real.siteIds[site]}/app-registrations/${clientId}`
}

export function instantOf(time: number | null): string | null {
  return time === null ? null : new Date(time).toISOString()
}
