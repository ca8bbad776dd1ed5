import fc from 'fast-check'
import t from 'tap'
import { Clock, startApp } from '../fixtures/app/app.ts'
import { DAY_MS } from '../fixtures/app/registration.ts'
import { startWebhookReceiver } from '../fixtures/peers/webhook-receiver.ts'
import { put, removeByKey } from './keyed.ts'
import { type Command, command, type Model, type Real, SITES, type Site } from './model.ts'
import { change, create, exchange, remove, retire, rotate } from './registrations.ts'
import { changeOnce, createTwice, list, page, readNotices, subscribe, trespass } from './sites.ts'

const BEHIND_MS = 7_000
const RUNS = 40
/** The clock jumps by days, so notices come due all the time. */
const NOTICES = { NOTICE_WEBHOOK_ALLOW: '127.0.0.1', NOTICE_INTERVAL_SECONDS: '1' }
const SCOPES = ['devices:read', 'devices:write', 'billing'] as const
const AUDIENCES = ['devices', 'https://billing.example', 'https://Devices.example:8443/api?v=1'] as const

const site = fc.constantFrom<Site>(...SITES)
const instance = fc.nat({ max: 1 })
const pick = fc.nat({ max: 5 })
/** Without case and accents, so that their order is that of their characters. */
const name = fc.stringMatching(/^[a-z]{1,8}( [a-z0-9]{1,8})?$/)
const key = fc.constantFrom('a', 'b')
const isEnabled = fc.constantFrom(true, true, true, false)
const scopes = fc.subarray([...SCOPES])
const audiences = fc.subarray([...AUDIENCES])
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
  fc.tuple(site, isEnabled, scopes, audiences, lifetimeMs, instance).map(args => create(...args)),
  fc
    .tuple(pick, lifetimeMs, instance)
    .map(([at, ms, which]) => change('renew', at, which, now => ({ expiresAt: now + ms }))),
  fc
    .tuple(pick, fc.boolean(), instance)
    .map(([at, enabled, which]) => change('enable', at, which, () => ({ enabled }))),
  fc.tuple(pick, scopes, instance).map(([at, some, which]) => change('scopes', at, which, () => ({ scopes: some }))),
  fc
    .tuple(pick, audiences, instance)
    .map(([at, some, which]) => change('audiences', at, which, () => ({ audiences: some }))),
  fc.tuple(pick, instance).map(args => remove(...args)),
  fc
    .tuple(site, key, fc.option(fc.boolean(), { nil: undefined }), scopes, lifetimeMs, instance)
    .map(args => put(...args)),
  fc.tuple(site, key, instance).map(args => removeByKey(...args)),
  ...[0, 1].map(() => fc.tuple(pick, overlapSeconds, instance).map(args => rotate(...args))),
  fc.tuple(pick, instance).map(args => retire(...args)),
  fc.tuple(pick, secretKind, fc.option(scopes, { nil: undefined }), instance).map(args => exchange(...args)),
  ...[0, 1, 2].map(() => fc.tuple(pick, secretKind, fc.constant(undefined), instance).map(args => exchange(...args))),
  fc.tuple(pick, instance).map(args => trespass(...args)),
  fc.tuple(site, instance).map(args => list(...args)),
  fc.tuple(pick, name, instance).map(([at, text, which]) => change('rename', at, which, () => ({ name: text }))),
  fc.tuple(pick, name, instance).map(args => changeOnce(...args)),
  fc.tuple(site, fc.integer({ min: 1, max: 3 }), instance).map(args => page(...args)),
  fc.tuple(site, lifetimeMs, instance).map(args => createTwice(...args)),
  fc.tuple(site, instance).map(args => subscribe(...args)),
  fc.tuple(site, instance).map(args => readNotices(...args)),
  tickMs.map(tick)
]

// [MODEL-1]
t.test(
  'two Sites on two instances: no token after a refusal is due, no effect across Sites, Last used only forward, a secret in one answer',
  { timeout: 280_000 },
  async t => {
    const clock = new Clock()
    const behind = () => clock.now() - BEHIND_MS
    const environment = { TOKEN_FAILURE_LIMIT: '1000000', MAX_NOTICE_RECEIVERS_PER_SITE: '1000', ...NOTICES }
    const { url: receiverUrl } = await startWebhookReceiver(t)
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
        const model: Model = { registrations: [], receivers: [] }
        const real: Real = { instances, clock, siteIds, receiverUrl }
        for (const each of SITES) await create(each, true, [...SCOPES], [], DAY_MS, 0).run(model, real)
        await fc.asyncModelRun(() => ({ model, real }), sequence)
        for (const each of SITES) await list(each, 0).run(model, real)
        used += model.registrations.filter(({ lastUsedAt }) => lastUsedAt !== null).length
        rotated += model.registrations.filter(({ previous }) => previous !== undefined).length
      }),
      { numRuns: RUNS, includeErrorInReport: true }
    )
    t.comment(`${runs} runs, ${used} registrations that got a token, ${rotated} whose secret was rotated`)
    t.equal(runs, RUNS)
    t.ok(used > runs / 2, `${used} registrations that got a token`)
    t.ok(rotated > 0, `${rotated} registrations whose secret was rotated`)
  }
)

function tick(ms: number): Command {
  return command(`${ms} ms pass`, async (_model, { clock }) => clock.advance(ms))
}
