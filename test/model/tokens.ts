import { strict as assert } from 'node:assert'
import type fc from 'fast-check'
import { decodeJwt } from 'jose'
import { query } from '../fixtures/app/database.ts'
import type { Answer, Grantd } from '../fixtures/app/grantd.ts'
import { introspect, postForm } from '../fixtures/app/introspection.ts'
import { inDays } from '../fixtures/app/registration.ts'

/** The life of access tokens: a client obtains them, and its registration, its Site or the client itself stops them. */

interface Client {
  clientId: string
  clientSecret: string
}

interface Registration extends Client {
  siteId: string
  path: string
  enabled: boolean
  isDeleted: boolean
  /** Revocations of single tokens that are kept. */
  revocations: number
}

interface Token {
  text: string
  of: Registration
  /** Seconds since the epoch. */
  exp: number
  /** Whether it was stopped once. It never comes back. */
  isStopped: boolean
}

export interface TokenModel {
  registrations: Registration[]
  tokens: Token[]
}

export interface TokenReal {
  /** Two instances on one database, whose clocks differ. */
  instances: readonly Grantd[]
  siteIds: readonly string[]
  /** A registration of each Site that may introspect. */
  gateways: readonly Client[]
}

export type TokenCommand = fc.AsyncCommand<TokenModel, TokenReal>

/** The most that a registration has, after which all of its tokens are stopped. */
const MAX_REVOCATIONS = 100

function command(
  label: string,
  run: TokenCommand['run'],
  isPossible: TokenCommand['check'] = () => true
): TokenCommand {
  return { check: isPossible, run, toString: () => label }
}

function pick<T>(things: readonly T[], at: number): T {
  const found = things[at % things.length]
  if (found === undefined) throw new Error('nothing to choose from')
  return found
}

const hasRegistration = ({ registrations }: Readonly<TokenModel>) => registrations.length > 0
const hasToken = ({ tokens }: Readonly<TokenModel>) => tokens.length > 0

export function register(site: number, which: number): TokenCommand {
  return command(`register in Site ${site} at ${which}`, async (model, real) => {
    const siteId = pick(real.siteIds, site)
    const { clientId, clientSecret, path } = await pick(real.instances, which).register({}, siteId)
    model.registrations.push({
      ...{ clientId, clientSecret, path, siteId },
      ...{ enabled: true, isDeleted: false, revocations: 0 }
    })
  })
}

export function obtain(at: number, which: number): TokenCommand {
  const run: TokenCommand['run'] = async (model, real) => {
    const registration = pick(model.registrations, at)
    const answer = await pick(real.instances, which).exchange(registration)
    assert.equal(answer.status, isInForce(registration) ? 200 : 401, answer.text)
    if (answer.status === 200) model.tokens.push(tokenIn(answer, registration))
  }
  return command(`token for ${at} at ${which}`, run, hasRegistration)
}

function isInForce({ enabled, isDeleted }: Registration): boolean {
  return enabled && !isDeleted
}

function tokenIn(answer: Answer, of: Registration): Token {
  const text: string = answer.json().access_token
  return { text, of, exp: decodeJwt(text).exp ?? 0, isStopped: false }
}

export function setEnabled(at: number, enabled: boolean, which: number): TokenCommand {
  const run: TokenCommand['run'] = async (model, real) => {
    const registration = pick(model.registrations, at)
    const answer = await pick(real.instances, which).asAdmin('PATCH', registration.path, { body: { enabled } })
    if (registration.isDeleted) return assert.equal(answer.status, 404)
    assert.equal(answer.status, 200, answer.text)
    registration.enabled = enabled
    if (!enabled) stopIssued(model, registration)
  }
  return command(`${enabled ? 'enable' : 'disable'} ${at} at ${which}`, run, hasRegistration)
}

/** Disables and enables a registration in one second. The client obtains a token at once. */
export function restart(at: number, which: number): TokenCommand {
  const run: TokenCommand['run'] = async (model, real) => {
    for (const enabled of [false, true]) await setEnabled(at, enabled, which).run(model, real)
    await obtain(at, 1 - which).run(model, real)
  }
  return command(`restart ${at} at ${which}`, run, hasRegistration)
}

/** Lets a registration expire at once, and renews it. What its expiry has stopped does not come back. */
export function expireAndRenew(at: number, which: number): TokenCommand {
  const run: TokenCommand['run'] = async (model, real) => {
    const registration = pick(model.registrations, at)
    const grantd = pick(real.instances, which)
    if (registration.isDeleted) return
    await query(
      grantd.databaseUrl,
      'update registrations set (expires_at, expiry_set_at, version) = (clock_timestamp(), clock_timestamp(), version + 1) where client_id = $1',
      [registration.clientId]
    )
    const answer = await grantd.asAdmin('PATCH', registration.path, { body: { expiresAt: inDays(30) } })
    assert.equal(answer.status, 200, answer.text)
    stopIssued(model, registration)
  }
  return command(`expire and renew ${at} at ${which}`, run, hasRegistration)
}

export function remove(at: number, which: number): TokenCommand {
  const run: TokenCommand['run'] = async (model, real) => {
    const registration = pick(model.registrations, at)
    await pick(real.instances, which).asAdmin('DELETE', registration.path)
    registration.isDeleted = true
    stopAll(model, registration)
  }
  return command(`delete ${at} at ${which}`, run, hasRegistration)
}

/** Other changes of a registration stop no token. */
export function change(at: number, body: object, which: number): TokenCommand {
  const run: TokenCommand['run'] = async (model, real) => {
    const { path } = pick(model.registrations, at)
    await pick(real.instances, which).asAdmin('PATCH', path, { body })
  }
  return command(`change ${at} to ${JSON.stringify(body)} at ${which}`, run, hasRegistration)
}

/**
 * Revokes all tokens of a registration, while the client obtains more on both instances. Tokens that are obtained
 * meanwhile are on either side of the cut-off.
 */
export function revokeAll(at: number, isBusy: boolean, which: number): TokenCommand {
  const run: TokenCommand['run'] = async (model, real) => {
    const registration = pick(model.registrations, at)
    const busy = isBusy ? [...real.instances, ...real.instances] : []
    const [revoked, ...meanwhile] = await Promise.all([
      pick(real.instances, which).asAdmin('POST', `${registration.path}/revoke-tokens`),
      ...busy.map(grantd => grantd.exchange(registration))
    ])
    if (registration.isDeleted) return assert.equal(revoked?.status, 404)
    assert.equal(revoked?.status, 200, revoked?.text)
    stopAll(model, registration)
    if (!isInForce(registration)) return
    const cutOff = Date.parse(revoked?.json().tokensValidFrom) / 1_000
    for (const answer of meanwhile) {
      const token = tokenIn(answer, registration)
      token.isStopped = Number(decodeJwt(token.text).iat) < cutOff
      model.tokens.push(token)
    }
  }
  return command(`revoke the tokens of ${at}${isBusy ? ' in use' : ''} at ${which}`, run, hasRegistration)
}

function stopAll(model: TokenModel, registration: Registration): void {
  stopIssued(model, registration)
  registration.revocations = 0
}

/** Stops the tokens of a registration. Its revocations are kept, and count. */
function stopIssued({ tokens }: TokenModel, registration: Registration): void {
  for (const token of tokens) if (token.of === registration) token.isStopped = true
}

/** A client revokes a token. Only one of its own is stopped. */
export function revokeOne(token: number, by: number | 'its owner', which: number): TokenCommand {
  const run: TokenCommand['run'] = async (model, real) => {
    const target = pick(model.tokens, token)
    const client = by === 'its owner' ? target.of : pick(model.registrations, by)
    // Whether it has expired by then, and does not count, is not known.
    if (isShort(target) && target.of.revocations > MAX_REVOCATIONS / 2) return
    const grantd = pick(real.instances, which)
    const answer = await revokeBy(grantd, client, target.text)
    assert.equal(answer.status, isInForce(client) ? 200 : 401, answer.text)
    if (!isInForce(client) || client !== target.of || target.isStopped) return
    target.isStopped = true
    if (isShort(target)) return
    if (++target.of.revocations > MAX_REVOCATIONS) stopAll(model, target.of)
  }
  return command(`revoke token ${token} as ${by} at ${which}`, run, hasToken)
}

function revokeBy(grantd: Grantd, { clientId, clientSecret }: Client, token: string): Promise<Answer> {
  return postForm(grantd, '/oauth/revoke', { client_id: clientId, client_secret: clientSecret, token })
}

/** Tokens of an instance with a short ACCESS_TOKEN_TTL_SECONDS expire during the run. */
function isShort({ text }: Token): boolean {
  const { iat = 0, exp = 0 } = decodeJwt(text)
  return exp - iat < 60
}

/** Fills the revocations of a registration up, so that the next one stops all of its tokens. */
export function fill(at: number): TokenCommand {
  const run: TokenCommand['run'] = async (model, real) => {
    const registration = pick(model.registrations, at)
    if (registration.isDeleted) return
    await query(
      pick(real.instances, 0).databaseUrl,
      `insert into token_revocations (client_id, jti, ends_at)
       select $1, gen_random_uuid(), now() + interval '10 minutes' from generate_series(1, $2::int)`,
      [registration.clientId, MAX_REVOCATIONS - registration.revocations]
    )
    registration.revocations = MAX_REVOCATIONS
  }
  return command(`fill the revocations of ${at}`, run, hasRegistration)
}

/** Introspects a token as the gateway of each Site, on one instance. */
export function look(token: number, which: number): TokenCommand {
  const run: TokenCommand['run'] = async ({ tokens }, real) => {
    await checkToken(pick(tokens, token), real, pick(real.instances, which))
  }
  return command(`introspect token ${token} at ${which}`, run, hasToken)
}

/** A token that should be dead is never active, a live one is never inactive, and another Site never sees either. */
export async function checkToken(token: Token, { siteIds, gateways }: TokenReal, grantd: Grantd): Promise<void> {
  const { text, of, exp, isStopped } = token
  for (const [index, siteId] of siteIds.entries()) {
    const before = Date.now() / 1_000
    const { active } = (await introspect(grantd, pick(gateways, index), text)).json()
    const after = Date.now() / 1_000
    if (active) {
      assert.equal(siteId, of.siteId, 'a token of another Site is active')
      assert(!isStopped && isInForce(of), 'a dead token is active')
      assert(exp > before, 'an expired token is active')
    } else {
      const mustBeActive = siteId === of.siteId && !isStopped && isInForce(of) && exp > after
      assert(!mustBeActive, 'a live token is not active')
    }
    const tampered = `${text.slice(0, -2)}${text.endsWith('AA') ? 'BB' : 'AA'}`
    assert.equal((await introspect(grantd, pick(gateways, index), tampered)).text, '{"active":false}')
  }
}
