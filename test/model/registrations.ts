import { strict as assert } from 'node:assert'
import { decodeJwt } from 'jose'
import { createClientSecret } from '../../src/credentials/secret.ts'
import type { Answer } from '../fixtures/app/grantd.ts'
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
  moveExpiry,
  pathOf,
  type Real,
  type Site,
  secretsOf
} from './model.ts'

/** The life of a registration: create, change, rotate, exchange, delete. */

export function create(
  of: Site,
  enabled: boolean,
  some: string[],
  audiences: string[],
  ms: number,
  which: number
): Command {
  return command(
    `create in ${of}, enabled ${enabled}, [${some}] for [${audiences}], for ${ms} ms, at ${which}`,
    async (model, real) => {
      const name = `registration ${String(model.registrations.length).padStart(3, '0')}`
      const expiresAt = instanceOf(real, which).now() + ms
      const body = { name, enabled, scopes: some, audiences, expiresAt: new Date(expiresAt).toISOString() }
      const collection = `/v1/sites/${real.siteIds[of]}/app-registrations`
      const answer = await administer(model, real, which, of, 'POST', collection, body)
      assert.equal(answer.status, 201, answer.text)
      const { clientId, clientSecret } = answer.json()
      assert(
        model.registrations.every(known => known.clientId !== clientId && !secretsOf(known).includes(clientSecret))
      )
      model.registrations.push({
        ...{ site: of, key: null, clientId, clientSecret, name, enabled, scopes: some, audiences, expiresAt },
        ...madeAt(instanceOf(real, which).now())
      })
    }
  )
}

type Change = Partial<Pick<Modelled, 'name' | 'enabled' | 'scopes' | 'audiences' | 'expiresAt'>>

export function change(what: string, at: number, which: number, changeAt: (now: number) => Change): Command {
  const run: Command['run'] = async (model, real) => {
    const registration = chosen(model, at)
    const now = instanceOf(real, which).now()
    const members = changeAt(now)
    const { expiresAt, ...rest } = members
    const body = { ...rest, ...(expiresAt !== undefined && { expiresAt: new Date(expiresAt).toISOString() }) }
    const path = pathOf(real, registration)
    const answer = await administer(model, real, which, registration.site, 'PATCH', path, body)
    assert.equal(answer.status, registration.isDeleted ? 404 : 200, answer.text)
    if (registration.isDeleted) return
    registration.hasCutOff ||= members.enabled !== undefined && members.enabled !== registration.enabled
    Object.assign(registration, rest)
    if (expiresAt !== undefined) moveExpiry(registration, expiresAt, now)
  }
  return command(`${what} ${at} at ${which}: ${JSON.stringify(changeAt(0))}`, run, hasAny)
}

export function remove(at: number, which: number): Command {
  const run: Command['run'] = async (model, real) => {
    const registration = chosen(model, at)
    const answer = await administer(model, real, which, registration.site, 'DELETE', pathOf(real, registration))
    assert.equal(answer.status, registration.isDeleted ? 404 : 204, answer.text)
    registration.isDeleted = true
  }
  return command(`delete ${at} at ${which}`, run, hasAny)
}

function worksBeside({ previous }: Modelled, now: number): boolean {
  return previous !== undefined && now < previous.expiresAt
}

/** A registration has two secrets at most, and no secret in use is taken away before its time. */
export function rotate(at: number, overlap: number, which: number): Command {
  const run: Command['run'] = async (model, real) => {
    const registration = chosen(model, at)
    const { now } = instanceOf(real, which)
    const path = `${pathOf(real, registration)}/rotate-secret`
    const body = { overlapSeconds: overlap }
    const answer = await administer(model, real, which, registration.site, 'POST', path, body)
    if (registration.isDeleted) return assert.equal(answer.status, 404, answer.text)
    const { clientSecret, secretCreatedAt, secretUsedAt, previous, replaced } = registration
    const isUnderWay = worksBeside(registration, now())
    if (answer.status === 409) return assert(isUnderWay && registration.lastUsedAt !== null, 'refused for nothing')
    assert.equal(answer.status, 201, answer.text)
    const expiresAt = overlap === 0 ? Number.NEGATIVE_INFINITY : now() + overlap * 1_000
    const isUsed = secretUsedAt !== null && secretUsedAt >= secretCreatedAt
    // Without an overlap, the administrator ends both secrets at once.
    if (isUnderWay && previous !== undefined && !(isUsed && overlap === 0)) {
      assert(!isUsed, 'a secret in use was taken away')
      registration.previous = { ...previous, expiresAt }
      replaced.push(clientSecret)
    } else {
      if (previous !== undefined) replaced.push(previous.clientSecret)
      registration.previous = { clientSecret, expiresAt }
    }
    Object.assign(registration, {
      ...{ clientSecret: answer.json().clientSecret, secretCreatedAt: now(), secretUsedAt: null }
    })
  }
  return command(`rotate ${at} with ${overlap} s at ${which}`, run, hasAny)
}

export function retire(at: number, which: number): Command {
  const run: Command['run'] = async (model, real) => {
    const registration = chosen(model, at)
    const { now } = instanceOf(real, which)
    const isThere = !registration.isDeleted && worksBeside(registration, now())
    const path = `${pathOf(real, registration)}/previous-credential`
    const answer = await administer(model, real, which, registration.site, 'DELETE', path)
    assert.equal(answer.status, isThere ? 204 : 404, answer.text)
    // This holds on every instance, whatever its clock says.
    if (isThere && registration.previous !== undefined) registration.previous.expiresAt = Number.NEGATIVE_INFINITY
  }
  return command(`retire the previous secret of ${at} at ${which}`, run, hasAny)
}

export function exchange(at: number, kind: string, asked: string[] | undefined, which: number): Command {
  const run: Command['run'] = async (model, real) => {
    const registration = chosen(model, at)
    const { grantd, now } = instanceOf(real, which)
    const expected = expectedOf(registration, kind, asked, now())
    const answer = await grantd.requestToken({
      client_id: registration.clientId,
      client_secret: presented(model, registration, kind),
      ...(asked !== undefined && { scope: asked.join(' ') })
    })
    assert.equal(answer.status, expected, answer.text)
    if (answer.status === 200) {
      checkToken(answer, registration, asked, real)
      registration.lastUsedAt = Math.max(registration.lastUsedAt ?? 0, now())
      registration.exchangeCount++
      if (kind === 'right') registration.secretUsedAt = Math.max(registration.secretUsedAt ?? 0, now())
    } else assert(!('access_token' in answer.json()))
    if (registration.isDeleted) return
    // A client that has its token can see its use at once, on the other instance too.
    const read = await administer(model, real, 1 - which, registration.site, 'GET', pathOf(real, registration))
    assert.equal(read.json().lastUsedAt, instantOf(registration.lastUsedAt))
    assert.equal(read.json().exchangeCount, registration.exchangeCount)
    if (answer.status !== 200) return
    // The cut-off goes by the clock of the database, which no command moves.
    const cutOff = Math.floor(Date.parse(read.json().tokensValidFrom ?? 0) / 1_000)
    assert.equal(decodeJwt(answer.json().access_token).iat, Math.max(cutOff, Math.floor(now() / 1_000)))
  }
  return command(`exchange ${at} with the ${kind} secret for [${asked}] at ${which}`, run, hasAny)
}

/** Returns the status that the model expects. */
function expectedOf(registration: Modelled, kind: string, asked: string[] | undefined, now: number): number {
  const { isDeleted, enabled, expiresAt } = registration
  const isRight = kind === 'right' || (kind === 'previous' && worksBeside(registration, now))
  if (isDeleted || !isRight || !enabled || expiresAt <= now) return 401
  return (asked ?? []).every(scope => registration.scopes.includes(scope)) ? 200 : 400
}

function presented({ registrations }: Model, registration: Modelled, kind: string): string {
  const { clientSecret, previous, replaced } = registration
  if (kind === 'right') return clientSecret
  if (kind === 'previous') return previous?.clientSecret ?? createClientSecret('grantd_')
  if (kind === 'replaced') return replaced.at(-1) ?? createClientSecret('grantd_')
  if (kind === 'edited') return `${clientSecret.slice(0, -1)}${clientSecret.endsWith('a') ? 'b' : 'a'}`
  const other = registrations.find(known => known.clientSecret !== clientSecret)
  return kind === "another's" && other !== undefined ? other.clientSecret : createClientSecret('grantd_')
}

function checkToken(answer: Answer, registration: Modelled, asked: string[] | undefined, real: Real): void {
  const { scope, access_token: accessToken, expires_in: expiresIn } = answer.json()
  // An empty parameter counts as absent (RFC 6749 §3.2).
  const granted = asked === undefined || asked.length === 0 ? registration.scopes : asked
  assert.deepEqual(scope?.split(' ') ?? [], granted)
  const claims = decodeJwt(accessToken)
  assert.equal(claims.sub, registration.clientId)
  assert.equal(claims['site'], real.siteIds[registration.site])
  assert((claims.exp ?? Number.POSITIVE_INFINITY) * 1_000 <= registration.expiresAt, 'it outlives its registration')
  assert(expiresIn <= 900)
}
