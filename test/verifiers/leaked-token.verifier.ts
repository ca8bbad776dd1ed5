import { decodeJwt } from 'jose'
import t from 'tap'
import { makeClientKey } from '../fixtures/app/assertion.ts'
import { startDevicesApi } from '../fixtures/app/devices-api.ts'
import { proofFor } from '../fixtures/app/dpop.ts'
import { leftOutFor } from '../fixtures/faults/debian.ts'
import { until } from '../fixtures/run/until.ts'
import { startNginxGateway } from './gateways.ts'
import { NGINX } from './nginx.ts'
import { startNodeExample } from './node-program.ts'
import { AUDIENCE, SCOPE, startIssuer, type Tokens } from './tokens.ts'
import { verifierAt } from './verifier.ts'

/** "When a token leaks" of docs/resource-servers.md, as a thief and an administrator see it. */

const nginx = { skip: leftOutFor(NGINX) }
/** `clockTolerance` of the example for jose. */
const TOLERANCE = 5

/** Returns a gateway that introspects, and a resource server that verifies offline. */
async function startBoth(t: Parameters<typeof startNginxGateway>[0], tokens: Tokens) {
  const introspecting = await startNginxGateway(t, tokens)
  const port = await startNodeExample(t, 'Node.js with jose', { 'https://grantd.example.com': tokens.issuer })
  return { introspecting, offline: await verifierAt(port) }
}

t.test(
  'one call stops a leaked token at a gateway that introspects, and offline it works until its exp',
  nginx,
  async t => {
    const tokens = await startIssuer(t)
    const { introspecting, offline } = await startBoth(t, tokens)
    const exp = Math.floor(Date.now() / 1_000) + 3
    const leaked = await tokens.sign({ exp })
    t.same([await introspecting(leaked), await offline(leaked)], [true, true], 'the thief gets in everywhere')

    const { client_id: clientId, site } = decodeJwt(leaked)
    const path = `/v1/sites/${site}/app-registrations/${clientId}`
    t.equal(
      (await tokens.grantd.asAdmin('GET', path)).json().clientId,
      tokens.client.clientId,
      'its registration is found'
    )
    t.equal((await tokens.grantd.asAdmin('POST', `${path}/revoke-tokens`)).status, 200, 'one call')
    t.same(
      [await introspecting(leaked), await offline(leaked)],
      [false, true],
      'only the gateway that introspects knows'
    )

    const parameters = { client_id: tokens.client.clientId, client_secret: tokens.client.clientSecret }
    const answer = await tokens.grantd.requestToken({ ...parameters, resource: AUDIENCE, scope: SCOPE })
    const next: string = answer.json().access_token
    t.same([await introspecting(next), await offline(next)], [true, true], 'the client goes on with a new token')

    await until('the leaked token has expired', () => Date.now() / 1_000 > exp + TOLERANCE + 1)
    t.equal(await offline(leaked), false)
  }
)

t.test('a leaked token that is bound to a key is of no use to a thief, before anybody has noticed', nginx, async t => {
  const tokens = await startIssuer(t)
  const { introspecting, offline } = await startBoth(t, tokens)
  const devices = await startDevicesApi(t, tokens.issuer)
  const [owner, thief] = [await makeClientKey(), await makeClientKey()]
  const obtain = async (audience: string): Promise<string> => {
    const client = await tokens.grantd.register({ scopes: [SCOPE], audiences: [audience], dpopBound: true })
    const parameters = { client_id: client.clientId, client_secret: client.clientSecret }
    const answer = await tokens.grantd.requestToken(parameters, { dpop: proofFor(tokens.grantd, owner) })
    return answer.json().access_token
  }

  const leaked = await obtain(AUDIENCE)
  t.same([await introspecting(leaked), await offline(leaked)], [false, false], 'as a Bearer token')

  const bound = await obtain(devices.audience)
  const request = async (scheme: string, dpop?: string): Promise<number> =>
    (await devices.request({ authorization: `${scheme} ${bound}`, ...(dpop !== undefined && { dpop }) })).status
  const captured = devices.prove(owner, bound)
  t.equal(await request('DPoP', captured), 200, 'the owner, who has the key')
  t.equal(await request('Bearer'), 401, 'the thief, without a proof')
  t.equal(await request('DPoP', devices.prove(thief, bound)), 401, 'the thief, with a proof by another key')
  t.equal(await request('DPoP', captured), 401, 'the thief, with a captured proof')
})
