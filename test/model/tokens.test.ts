import fc from 'fast-check'
import t from 'tap'
import { DatabaseClock } from '../../src/database/clock.ts'
import { startApp } from '../fixtures/app/app.ts'
import { createDatabase, openTestDatabase } from '../fixtures/app/database.ts'
import { registerGateway } from '../fixtures/app/introspection.ts'
import { inDays } from '../fixtures/app/registration.ts'
import {
  change,
  checkToken,
  expireAndRenew,
  fill,
  look,
  obtain,
  register,
  remove,
  restart,
  revokeAll,
  revokeOne,
  setEnabled,
  type TokenModel,
  type TokenReal
} from './tokens.ts'

const RUNS = 5
const SKEW_MS = 600_000
const SITES = 2

const site = fc.nat({ max: SITES - 1 })
const instance = fc.nat({ max: 1 })
const at = fc.nat({ max: 3 })
const token = fc.nat({ max: 30 })
const changes = fc.constantFrom({ name: 'renamed' }, { tokenLifetimeSeconds: 60 }, { expiresAt: inDays(30) })

const commands = [
  fc.tuple(site, instance).map(args => register(...args)),
  ...[0, 1, 2, 3].map(() => fc.tuple(at, instance).map(args => obtain(...args))),
  ...[0, 1].map(() => fc.tuple(at, fc.boolean(), instance).map(args => setEnabled(...args))),
  fc.tuple(at, instance).map(args => restart(...args)),
  fc.tuple(at, instance).map(args => expireAndRenew(...args)),
  fc.tuple(at, fc.boolean(), instance).map(args => revokeAll(...args)),
  fc.tuple(token, fc.constant('its owner' as const), instance).map(args => revokeOne(...args)),
  fc.tuple(token, at, instance).map(args => revokeOne(...args)),
  fc.tuple(at).map(args => fill(...args)),
  fc.tuple(at, instance).map(args => remove(...args)),
  fc.tuple(at, changes, instance).map(args => change(...args)),
  ...[0, 1].map(() => fc.tuple(token, instance).map(args => look(...args)))
]

// [MODEL-2]
t.test(
  'two Sites on two instances, one ahead and one behind: a dead token is never active, a live one never inactive (spec 54, 55)',
  { timeout: 280_000 },
  async t => {
    const databaseUrl = await createDatabase(t)
    const clock = new DatabaseClock(openTestDatabase(t, databaseUrl))
    await clock.refresh()
    const start = (skewMs: number, ttlSeconds: string) =>
      startApp(t, {
        databaseUrl,
        now: () => Date.now() + skewMs,
        databaseEstimate: clock.estimate,
        environment: {
          ISSUER: 'https://grantd.example',
          ACCESS_TOKEN_TTL_SECONDS: ttlSeconds,
          TOKEN_FAILURE_LIMIT: '1000000'
        }
      })
    // Those of the second one expire during the run.
    const instances = [await start(SKEW_MS, '900'), await start(-SKEW_MS, '3')]
    const [first] = instances
    if (first === undefined) throw new Error('no instance')
    const totals = { runs: 0, tokens: 0, stopped: 0 }
    await fc.assert(
      fc.asyncProperty(fc.commands(commands, { size: 'max', maxCommands: 50 }), async sequence => {
        const siteIds = Array.from({ length: SITES }, (_, index) => `site-${totals.runs}-${index}`)
        const gateways = await Promise.all(siteIds.map(siteId => registerGateway(first, siteId)))
        const model: TokenModel = { registrations: [], tokens: [] }
        const real: TokenReal = { instances, siteIds, gateways }
        for (const [index] of siteIds.entries()) await register(index, index).run(model, real)
        for (let each = 0; each < 4; each++) await obtain(each, each >> 1).run(model, real)
        // So that each run has dead tokens and live ones, whatever the sequence does.
        await revokeAll(0, false, 0).run(model, real)
        await fc.asyncModelRun(() => ({ model, real }), sequence)
        await register(0, 0).run(model, real)
        for (let each = 0; each < 2; each++) await obtain(model.registrations.length - 1, 0).run(model, real)
        for (const grantd of instances) for (const each of model.tokens) await checkToken(each, real, grantd)
        totals.runs++
        totals.tokens += model.tokens.length
        totals.stopped += model.tokens.filter(({ isStopped }) => isStopped).length
      }),
      // Each command takes real time, so a failure is not made smaller.
      { numRuns: RUNS, includeErrorInReport: true, endOnFailure: true }
    )
    t.comment(`${totals.runs} runs, ${totals.tokens} tokens, ${totals.stopped} of them stopped`)
    t.equal(totals.runs, RUNS)
    t.ok(totals.stopped > RUNS && totals.tokens - totals.stopped > RUNS, 'there are dead ones and live ones')
  }
)
