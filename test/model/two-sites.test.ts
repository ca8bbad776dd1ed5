import { strict as assert } from 'node:assert'
import { setTimeout as sleep } from 'node:timers/promises'
import fc from 'fast-check'
import { decodeJwt } from 'jose'
import t from 'tap'
import { createClientSecret } from '../../src/credentials/secret.ts'
import { registrationState } from '../../src/registrations/lifecycle.ts'
import { Clock, startApp } from '../fixtures/app/app.ts'
import type { Answer, Grantd, Json } from '../fixtures/app/grantd.ts'
import { DAY_MS } from '../fixtures/app/registration.ts'

/** What should be true of a registration; kept after it was deleted. */
interface Modelled {
  site: Site
  clientId: string
  clientSecret: string
  secretCreatedAt: number
  /** Latest exchange with it. */
  secretUsedAt: number | null
  /** The secret before the latest rotation. */
  previous: { clientSecret: string; expiresAt: number } | undefined
  /** Secrets that can't work any more. */
  replaced: string[]
  name: string
  enabled: boolean
  scopes: string[]
  expiresAt: number
  lastUsedAt: number | null
  isDeleted: boolean
}

type Site = 'acme' | 'globex'
interface Model {
  registrations: Modelled[]
}

/** One of two instances on one database: the clock of the second is behind. */
interface Instance {
  grantd: Grantd
  now: () => number
}

interface Real {
  instances: readonly Instance[]
  clock: Clock
  /** Each run has Sites of its own. */
  siteIds: Record<Site, string>
}

type Command = fc.AsyncCommand<Model, Real>

const BEHIND_MS = 7_000
const LATE_MS = 1_000
const SITES = ['acme', 'globex'] as const
const SCOPES = ['devices:read', 'devices:write', 'billing'] as const

const site = fc.constantFrom<Site>(...SITES)
const instance = fc.nat({ max: 1 })
const pick = fc.nat({ max: 5 })
const isEnabled = fc.constantFrom(true, true, true, false)
const scopes = fc.subarray([...SCOPES])
const lifetimeMs = fc.constantFrom(1_000, 60_000, 6 * DAY_MS, 29 * DAY_MS, 90 * DAY_MS, 365 * DAY_MS)
const tickMs = fc.constantFrom(1, 999, 1_000, 30_000, 60_000, 60_000, DAY_MS, 7 * DAY_MS, 30 * DAY_MS)
const secretKind = fc.constantFrom(
  'right',
  'right',
  'right',
  'previous',
  'previous',
  'replaced',
  'wrong',
  "another's",
  'edited'
)
const overlapSeconds = fc.constantFrom(0, 1, 60, 60, 86_400, 7 * 86_400)

const commands = [
  fc.tuple(site, isEnabled, scopes, lifetimeMs, instance).map(args => create(...args)),
  fc
    .tuple(pick, lifetimeMs, instance)
    .map(([at, ms, which]) => change('renew', at, which, now => ({ expiresAt: now + ms }))),
  fc
    .tuple(pick, fc.boolean(), instance)
    .map(([at, enabled, which]) => change('enable', at, which, () => ({ enabled }))),
  fc.tuple(pick, scopes, instance).map(([at, some, which]) => change('scopes', at, which, () => ({ scopes: some }))),
  fc.tuple(pick, instance).map(args => remove(...args)),
  ...[0, 1].map(() => fc.tuple(pick, overlapSeconds, instance).map(args => rotate(...args))),
  fc.tuple(pick, instance).map(args => retire(...args)),
  fc.tuple(pick, secretKind, fc.option(scopes, { nil: undefined }), instance).map(args => exchange(...args)),
  ...[0, 1, 2].map(() => fc.tuple(pick, secretKind, fc.constant(undefined), instance).map(args => exchange(...args))),
  fc.tuple(pick, instance).map(args => trespass(...args)),
  fc.tuple(site, instance).map(args => list(...args)),
  tickMs.map(tick)
]

// [MODEL-1]
t.test(
  'two Sites on two instances: no token once a refusal is due, no effect across Sites, Last used never back, a secret seen once',
  { timeout: 110_000 },
  async t => {
    const clock = new Clock()
    const behind = () => clock.now() - BEHIND_MS
    const environment = { TOKEN_FAILURE_LIMIT: '1000000' }
    const first = await startApp(t, { now: clock.now, environment })
    const second = await startApp(t, { now: behind, environment, databaseUrl: first.databaseUrl })
    const instances = [
      { grantd: first, now: clock.now },
      { grantd: second, now: behind }
    ]
    let runs = 0
    let used = 0
    let rotated = 0
    await fc.assert(
      fc.asyncProperty(fc.commands(commands, { size: 'max', maxCommands: 60 }), async sequence => {
        runs++
        const siteIds = { acme: `acme-${runs}`, globex: `globex-${runs}` }
        const model: Model = { registrations: [] }
        const real: Real = { instances, clock, siteIds }
        for (const each of SITES) await create(each, true, [...SCOPES], DAY_MS, 0).run(model, real)
        await fc.asyncModelRun(() => ({ model, real }), sequence)
        for (const each of SITES) await list(each, 0).run(model, real)
        used += model.registrations.filter(({ lastUsedAt }) => lastUsedAt !== null).length
        rotated += model.registrations.filter(({ previous }) => previous !== undefined).length
      }),
      { numRuns: 40, interruptAfterTimeLimit: 40_000, includeErrorInReport: true }
    )
    t.comment(`${runs} runs, ${used} registrations that got a token, ${rotated} whose secret was rotated`)
    t.ok(runs >= 2, `${runs} runs`)
    t.ok(used > runs / 2, `${used} registrations that got a token`)
    t.ok(rotated > 0, `${rotated} registrations whose secret was rotated`)
  }
)

function command(label: string, run: Command['run'], isPossible: (model: Model) => boolean = () => true): Command {
  return { check: model => isPossible(model), run, toString: () => label }
}

const hasAny = ({ registrations }: Model): boolean => registrations.length > 0

/** One there was, deleted ones too. */
function chosen({ registrations }: Model, at: number): Modelled {
  const found = registrations[at % registrations.length]
  if (found === undefined) throw new Error('nothing to choose from')
  return found
}

function instanceOf({ instances }: Real, which: number): Instance {
  const found = instances[which]
  if (found === undefined) throw new Error('no such instance')
  return found
}

/** All that there ever were. */
function secretsOf({ clientSecret, previous, replaced }: Modelled): string[] {
  return [clientSecret, ...(previous === undefined ? [] : [previous.clientSecret]), ...replaced]
}

/** As an administrator of one Site. No answer has a secret in it that another has had. */
async function administer(
  model: Model,
  real: Real,
  which: number,
  as: Site,
  method: string,
  path: string,
  body?: unknown
): Promise<Answer> {
  const { grantd } = instanceOf(real, which)
  const answer = await grantd.asAdmin(method, path, { sites: [real.siteIds[as]], body })
  for (const secret of model.registrations.flatMap(secretsOf)) {
    assert(!answer.text.includes(secret), 'a secret seen twice')
  }
  return answer
}

function pathOf(real: Real, { site, clientId }: Modelled): string {
  return `/v1/sites/${real.siteIds[site]}/app-registrations/${clientId}`
}

function create(of: Site, enabled: boolean, some: string[], ms: number, which: number): Command {
  return command(`create in ${of}, enabled ${enabled}, [${some}], for ${ms} ms, at ${which}`, async (model, real) => {
    const name = `registration ${String(model.registrations.length).padStart(3, '0')}`
    const expiresAt = instanceOf(real, which).now() + ms
    const body = { name, enabled, scopes: some, expiresAt: new Date(expiresAt).toISOString() }
    const collection = `/v1/sites/${real.siteIds[of]}/app-registrations`
    const answer = await administer(model, real, which, of, 'POST', collection, body)
    assert.equal(answer.status, 201, answer.text)
    const { clientId, clientSecret } = answer.json()
    assert(model.registrations.every(known => known.clientId !== clientId && !secretsOf(known).includes(clientSecret)))
    model.registrations.push({
      ...{ site: of, clientId, clientSecret, name, enabled, scopes: some, expiresAt },
      ...{ secretCreatedAt: instanceOf(real, which).now(), secretUsedAt: null, previous: undefined, replaced: [] },
      ...{ lastUsedAt: null, isDeleted: false }
    })
  })
}

type Change = Partial<Pick<Modelled, 'enabled' | 'scopes' | 'expiresAt'>>

function change(what: string, at: number, which: number, changeAt: (now: number) => Change): Command {
  const run: Command['run'] = async (model, real) => {
    const registration = chosen(model, at)
    const members = changeAt(instanceOf(real, which).now())
    const { expiresAt, ...rest } = members
    const body = { ...rest, ...(expiresAt !== undefined && { expiresAt: new Date(expiresAt).toISOString() }) }
    const path = pathOf(real, registration)
    const answer = await administer(model, real, which, registration.site, 'PATCH', path, body)
    assert.equal(answer.status, registration.isDeleted ? 404 : 200, answer.text)
    if (!registration.isDeleted) Object.assign(registration, members)
  }
  return command(`${what} ${at} at ${which}: ${JSON.stringify(changeAt(0))}`, run, hasAny)
}

function remove(at: number, which: number): Command {
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

/** Two secrets at most, and none that somebody uses is taken away before its time. */
function rotate(at: number, overlap: number, which: number): Command {
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
    if (isUnderWay && previous !== undefined) {
      assert(secretUsedAt === null || secretUsedAt < secretCreatedAt, 'a secret in use was taken away')
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

function retire(at: number, which: number): Command {
  const run: Command['run'] = async (model, real) => {
    const registration = chosen(model, at)
    const { now } = instanceOf(real, which)
    const isThere = !registration.isDeleted && worksBeside(registration, now())
    const path = `${pathOf(real, registration)}/previous-credential`
    const answer = await administer(model, real, which, registration.site, 'DELETE', path)
    assert.equal(answer.status, isThere ? 204 : 404, answer.text)
    // On every instance, whatever its clock says.
    if (isThere && registration.previous !== undefined) registration.previous.expiresAt = Number.NEGATIVE_INFINITY
  }
  return command(`retire the previous secret of ${at} at ${which}`, run, hasAny)
}

function exchange(at: number, kind: string, asked: string[] | undefined, which: number): Command {
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
      checkToken(answer, registration, asked, real, now())
      registration.lastUsedAt = Math.max(registration.lastUsedAt ?? 0, now())
      if (kind === 'right') registration.secretUsedAt = Math.max(registration.secretUsedAt ?? 0, now())
    } else assert(!('access_token' in answer.json()))
    if (registration.isDeleted) return
    // Whoever holds a token can see its use, on the other instance too.
    const path = pathOf(real, registration)
    const read = async () =>
      (await administer(model, real, 1 - which, registration.site, 'GET', path)).json().lastUsedAt
    const expectedUse = instantOf(registration.lastUsedAt)
    // A token waits 50 ms for it to be written, and no longer: this machine may be slower than that.
    if ((await read()) !== expectedUse) await sleep(LATE_MS)
    assert.equal(await read(), expectedUse)
  }
  return command(`exchange ${at} with the ${kind} secret for [${asked}] at ${which}`, run, hasAny)
}

/** By the model alone. */
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

function checkToken(
  answer: Answer,
  registration: Modelled,
  asked: string[] | undefined,
  real: Real,
  now: number
): void {
  const { scope, access_token: accessToken, expires_in: expiresIn } = answer.json()
  // An empty parameter counts as absent (RFC 6749 §3.2).
  const granted = asked === undefined || asked.length === 0 ? registration.scopes : asked
  assert.deepEqual(scope?.split(' ') ?? [], granted)
  const claims = decodeJwt(accessToken)
  assert.equal(claims.sub, registration.clientId)
  assert.equal(claims['site'], real.siteIds[registration.site])
  assert.equal(claims.iat, Math.floor(now / 1_000))
  assert((claims.exp ?? Number.POSITIVE_INFINITY) * 1_000 <= registration.expiresAt, 'it outlives its registration')
  assert(expiresIn <= 900)
}

/** An administrator of the one Site tries everything on what the other has, where it is and in the own Site. */
function trespass(at: number, which: number): Command {
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

function list(of: Site, which: number): Command {
  return command(`list ${of} at ${which}`, async (model, real) => {
    const { now } = instanceOf(real, which)
    const path = `/v1/sites/${real.siteIds[of]}/app-registrations?limit=200`
    const { items } = (await administer(model, real, which, of, 'GET', path)).json()
    const expected = model.registrations.filter(({ site, isDeleted }) => site === of && !isDeleted)
    assert.deepEqual(
      items.map(({ registeredAt: _, expiresInDays: __, credential, previousCredential, ...rest }: Json) => ({
        ...rest,
        secretCreatedAt: credential.createdAt,
        hasPrevious: previousCredential !== null
      })),
      expected.map(({ clientId, name, enabled, scopes, expiresAt, lastUsedAt, ...secrets }) => ({
        ...{ clientId, name, enabled, scopes },
        secretCreatedAt: instantOf(secrets.secretCreatedAt),
        hasPrevious: secrets.previous !== undefined && now() < secrets.previous.expiresAt,
        expiresAt: instantOf(expiresAt),
        lastUsedAt: instantOf(lastUsedAt),
        state: registrationState(expiresAt, now())
      }))
    )
  })
}

function instantOf(time: number | null): string | null {
  return time === null ? null : new Date(time).toISOString()
}

function tick(ms: number): Command {
  return command(`${ms} ms pass`, async (_model, { clock }) => clock.advance(ms))
}
