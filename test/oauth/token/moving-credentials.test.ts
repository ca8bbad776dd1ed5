import t from 'tap'
import { startApp } from '../../fixtures/app/app.ts'
import { claimsOf, makeClientKey, requestWithAssertion, signAssertion } from '../../fixtures/app/assertion.ts'
import { createDatabase } from '../../fixtures/app/database.ts'
import type { Answer, Grantd } from '../../fixtures/app/grantd.ts'
import { claimsFor, SUBJECT } from '../../fixtures/app/workload.ts'
import { makeKey, startIdentityProvider } from '../../fixtures/peers/identity-provider.ts'

/** Callers that exchange one after the other on each of two instances. */
const CALLERS = 4
/** Exchanges of each caller by a new credential before the previous one is retired. */
const EXCHANGES = 10

type Present = (instance: Grantd) => Promise<Answer>

t.test(
  'a registration moves from a secret to a key to a federated subject and back, over two instances under load, without a failed exchange',
  async t => {
    const issuer = await startIdentityProvider(t)
    const platformKey = await makeKey('RS256', 'platform')
    issuer.publish([platformKey])
    const databaseUrl = await createDatabase(t)
    const start = () => startApp(t, { databaseUrl, environment: { FEDERATED_ISSUERS: issuer.issuer } })
    const instances = [await start(), await start()] as const
    const [grantd] = instances
    const { clientId, clientSecret, path } = await grantd.register()
    const key = await makeClientKey()
    const bySecret =
      (secret: string): Present =>
      instance =>
        instance.exchange({ clientId, clientSecret: secret })
    const byKey: Present = async instance =>
      requestWithAssertion(instance, await signAssertion(key, claimsOf(clientId, instance.baseUrl, Date.now())))
    const byToken: Present = async instance =>
      requestWithAssertion(instance, await issuer.sign(platformKey, claimsFor(instance)), { client_id: clientId })

    const load = startLoad(instances, bySecret(clientSecret))
    const rotate = async (body: object): Promise<string> => {
      // The administrators of the Site use both instances, too.
      const answer = await instances[1].asAdmin('POST', `${path}/rotate-secret`, { body })
      t.equal(answer.status, 201, answer.text)
      return answer.json().clientSecret
    }
    const moveTo = async (present: Present): Promise<void> => {
      await load.moveTo(present)
      t.equal((await grantd.asAdmin('DELETE', `${path}/previous-credential`)).status, 204)
      await load.moveTo(present)
    }
    await load.moveTo(bySecret(clientSecret))
    await rotate({ publicKey: key.credential.jwk })
    await moveTo(byKey)
    await rotate({ federated: { issuer: issuer.issuer, subject: SUBJECT } })
    await moveTo(byToken)
    await moveTo(bySecret(await rotate({})))
    const { statuses, count } = await load.stop()
    t.same([...statuses], [200], `${count} exchanges`)
    t.ok(count >= 7 * CALLERS * instances.length * EXCHANGES, `${count} exchanges`)
    for (const gone of [bySecret(clientSecret), byKey, byToken]) {
      for (const instance of instances) t.equal((await gone(instance)).status, 401, 'a retired credential has ended')
    }
  }
)

/** Exchanges all the time on each instance, by the credential that was deployed last. */
function startLoad(instances: readonly Grantd[], first: Present) {
  let deployed = { present: first, exchanges: new Map<number, number>() }
  let isStopped = false
  const statuses = new Set<number>()
  let count = 0
  const waiting = new Set<() => void>()
  const run = async (instance: Grantd, caller: number): Promise<void> => {
    while (!isStopped) {
      const { present, exchanges } = deployed
      const { status } = await present(instance)
      statuses.add(status)
      count++
      exchanges.set(caller, (exchanges.get(caller) ?? 0) + 1)
      for (const check of waiting) check()
    }
  }
  const callers = Array.from({ length: CALLERS * instances.length }, (_, caller) => caller)
  const runs = Promise.all(
    instances.flatMap((instance, place) =>
      callers.slice(place * CALLERS, (place + 1) * CALLERS).map(caller => run(instance, caller))
    )
  )
  return {
    /** Deploys a credential. @returns when every caller has exchanged by it, so that no request presents another one */
    async moveTo(present: Present): Promise<void> {
      const exchanges = new Map<number, number>()
      deployed = { present, exchanges }
      const { promise, resolve } = Promise.withResolvers<void>()
      const check = () => {
        if (callers.every(caller => (exchanges.get(caller) ?? 0) >= EXCHANGES)) resolve()
      }
      waiting.add(check)
      await Promise.race([promise, runs])
      waiting.delete(check)
    },
    async stop(): Promise<{ statuses: ReadonlySet<number>; count: number }> {
      isStopped = true
      await runs
      return { statuses, count }
    }
  }
}
