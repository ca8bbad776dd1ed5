import { Writable } from 'node:stream'
import { pino } from 'pino'
import t, { type Test } from 'tap'
import { expose, Registry } from '../../../src/metrics/registry.ts'
import { startApp } from '../../fixtures/app/app.ts'
import { introspect, postForm, registerGateway, tokenOf } from '../../fixtures/app/introspection.ts'
import { until } from '../../fixtures/run/until.ts'

async function start(t: Test) {
  const lines: Record<string, unknown>[] = []
  const output = new Writable({
    write(chunk, _encoding, done) {
      lines.push(JSON.parse(String(chunk)))
      done()
    }
  })
  const metrics = new Registry()
  const grantd = await startApp(t, { metrics, log: pino({ level: 'info' }, output) })
  /** Counts by outcome, without those that are 0. */
  const counted = async (name: string): Promise<Record<string, number>> => {
    const found = expose(await metrics.read()).matchAll(new RegExp(`^${name}\\{outcome="(\\w+)"\\} (\\d+)$`, 'gm'))
    return Object.fromEntries(
      [...found].map(([, outcome = '', count]) => [outcome, Number(count)]).filter(([, n]) => n)
    )
  }
  /** Client and reason of each request to this path. */
  const logged = (path: string) =>
    lines.filter(({ route }) => route === path).map(({ clientId, reason }) => [clientId, reason])
  const ended = (path: string, count: number) => until('all are logged', () => logged(path).length === count)
  return { grantd, metrics, lines, counted, logged, ended }
}

t.test('the log says why a token is inactive, and metrics count outcomes', async t => {
  const { grantd, lines, metrics, counted, logged, ended } = await start(t)
  const gateway = await registerGateway(grantd)
  const [client, disabled, deleted, stopped, revoked] = [
    await grantd.register(),
    await grantd.register(),
    await grantd.register(),
    await grantd.register(),
    await grantd.register()
  ]
  const issued = async (by: typeof client) => ({ by, token: await tokenOf(grantd, by) })
  const [live, ofDisabled, ofDeleted, ofStopped, ofRevoked] = [
    await issued(client),
    await issued(disabled),
    await issued(deleted),
    await issued(stopped),
    await issued(revoked)
  ]
  await grantd.asAdmin('PATCH', disabled.path, { body: { enabled: false } })
  await grantd.asAdmin('DELETE', deleted.path)
  await grantd.asAdmin('POST', `${stopped.path}/revoke-tokens`)
  const credentials = { client_id: revoked.clientId, client_secret: revoked.clientSecret }
  await postForm(grantd, '/oauth/revoke', { ...credentials, token: ofRevoked.token })

  for (const { token } of [live, ofDisabled, ofDeleted, ofStopped, ofRevoked]) await introspect(grantd, gateway, token)
  await introspect(grantd, gateway, 'unknown')
  await introspect(grantd, client, live.token)
  await introspect(grantd, { ...gateway, clientSecret: client.clientSecret }, live.token)
  await postForm(grantd, '/oauth/introspect', { client_id: gateway.clientId, client_secret: gateway.clientSecret })
  await ended('/oauth/introspect', 9)
  t.same(logged('/oauth/introspect'), [
    ...['', 'disabled_client', 'deleted_client', 'stopped_token', 'revoked_token', 'unknown_token'].map(reason => [
      gateway.clientId,
      reason || undefined
    ]),
    [client.clientId, 'not_allowed'],
    [gateway.clientId, 'wrong_secret'],
    [undefined, 'no_token']
  ])
  t.same(await counted('grantd_introspections_total'), { active: 1, inactive: 6, refused: 2 })
  t.match(expose(await metrics.read()), /^grantd_introspection_duration_seconds_count 7$/m)
  for (const { token } of [live, ofRevoked]) t.notMatch(JSON.stringify(lines), token, 'no token is in the log')
})

t.test('the log and metrics distinguish a revocation from one without effect', async t => {
  const { grantd, counted, logged, ended } = await start(t)
  const { clientId, clientSecret } = await grantd.register()
  const revoke = (token: string, client_secret = clientSecret) =>
    postForm(grantd, '/oauth/revoke', { client_id: clientId, client_secret, token })
  await revoke(await tokenOf(grantd, { clientId, clientSecret }))
  await revoke('unknown')
  await revoke('unknown', 'junk')
  await ended('/oauth/revoke', 3)
  t.same(logged('/oauth/revoke'), [
    [clientId, undefined],
    [clientId, 'unknown_token'],
    [clientId, 'malformed_secret']
  ])
  t.same(await counted('grantd_revocations_total'), { revoked: 1, inactive: 1, refused: 1 })
})

t.test('a refused introspection shows in the diagnosis of its registration', async t => {
  const { grantd } = await start(t)
  const gateway = await registerGateway(grantd)
  await grantd.asAdmin('PATCH', gateway.path, { body: { enabled: false } })
  t.equal((await introspect(grantd, gateway, 'unknown')).status, 401)
  const diagnose = async () => (await grantd.asAdmin('GET', `${gateway.path}/diagnosis`)).text
  await until('it is recorded', async () => (await diagnose()).includes('"reason":"disabled"'))
})
