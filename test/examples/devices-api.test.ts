import { createServer } from 'node:http'
import * as oauth from 'oauth4webapi'
import t from 'tap'
import { startApp } from '../fixtures/app/app.ts'
import { startDevicesApi } from '../fixtures/app/devices-api.ts'

t.test('the how-to: create, see the secret once, exchange, list devices, see Last used move', async t => {
  const grantd = await startApp(t)
  const { audience, listDevices } = await startDevicesApi(t, grantd.baseUrl)

  const members = { name: 'devices', scopes: ['devices:read'], audiences: [audience] }
  const { clientId, clientSecret, path } = await grantd.register(members)
  const first = await grantd.asAdmin('GET', path)
  t.notOk('clientSecret' in first.json(), 'the secret was shown once')
  t.equal(first.json().lastUsedAt, null)

  const { access_token: token } = (await grantd.exchange({ clientId, clientSecret })).json()
  const devices = await listDevices('acme', token)
  t.equal(devices.status, 200)
  t.same(devices.json(), { devices: ['boiler 1', 'boiler 2'] })
  t.not((await grantd.asAdmin('GET', path)).json().lastUsedAt, null, 'Last used has moved')
})

t.test('two resource servers with different audiences each reject the token for the other (RFC 9068 §4)', async t => {
  const grantd = await startApp(t)
  const servers = [await startDevicesApi(t, grantd.baseUrl), await startDevicesApi(t, grantd.baseUrl)]
  const { clientId, clientSecret } = await grantd.register({
    scopes: ['devices:read'],
    audiences: servers.map(({ audience }) => audience)
  })
  for (const target of servers) {
    const credentials = { client_id: clientId, client_secret: clientSecret }
    const answer = await grantd.requestToken({ ...credentials, resource: target.audience })
    for (const server of servers) {
      const { status, headers } = await server.listDevices('acme', answer.json().access_token)
      t.equal(status, server === target ? 200 : 401)
      if (server !== target) t.match(headers['www-authenticate'], /error="invalid_token"/)
    }
  }
})

t.test('a client that knows only the URL of the resource finds grantd and the audience (RFC 9728 §5)', async t => {
  const grantd = await startApp(t)
  const { audience, listDevices } = await startDevicesApi(t, grantd.baseUrl)
  const { clientId, clientSecret } = await grantd.register({ scopes: ['devices:read'], audiences: ['other', audience] })
  const insecure = { [oauth.allowInsecureRequests]: true }

  const { headers } = await listDevices('acme')
  const [, named = ''] =
    /^Bearer resource_metadata="([^"]+)", DPoP algs="[^"]+", resource_metadata="\1"$/.exec(
      String(headers['www-authenticate'])
    ) ?? []
  t.equal(named, `${audience}/.well-known/oauth-protected-resource`)
  const found = await oauth.resourceDiscoveryRequest(new URL(audience), insecure)
  const resource = await oauth.processResourceDiscoveryResponse(new URL(audience), found)
  t.equal(resource.resource, audience)

  const issuer = new URL(resource.authorization_servers?.[0] ?? '')
  const discovered = await oauth.discoveryRequest(issuer, { ...insecure, algorithm: 'oauth2' })
  const server = await oauth.processDiscoveryResponse(issuer, discovered)
  const client = { client_id: clientId }
  const parameters = new URLSearchParams({ resource: resource.resource, scope: 'devices:read' })
  const authentication = oauth.ClientSecretBasic(clientSecret)
  const answer = await oauth.clientCredentialsGrantRequest(server, client, authentication, parameters, insecure)
  const { access_token: token } = await oauth.processClientCredentialsResponse(server, client, answer)
  t.equal((await listDevices('acme', token)).status, 200)
})

// [TOKEN-13]
t.test('a tampered, foreign or stale token is 401; another Site or a missing scope is 403', async t => {
  const grantd = await startApp(t)
  const foreign = await startApp(t)
  const stale = await startApp(t, { databaseUrl: grantd.databaseUrl, now: () => Date.now() - 7_200_000 })
  const { audience, listDevices } = await startDevicesApi(t, grantd.baseUrl)
  const registration = await grantd.register({ scopes: ['devices:read', 'other'], audiences: [audience] })
  const { clientId, clientSecret } = registration
  const { access_token: token } = (await grantd.exchange(registration)).json()

  t.equal((await listDevices('acme', token)).status, 200)
  t.equal((await listDevices('umbrella', token)).status, 403)
  const narrow = await grantd.requestToken({ client_id: clientId, client_secret: clientSecret, scope: 'other' })
  t.equal((await listDevices('acme', narrow.json().access_token)).status, 403)

  const [header = '', payload = '', signature = ''] = token.split('.')
  const claims = JSON.parse(Buffer.from(payload, 'base64url').toString())
  const umbrella = Buffer.from(JSON.stringify({ ...claims, site: 'umbrella' })).toString('base64url')
  const unsigned = Buffer.from(JSON.stringify({ alg: 'none', typ: 'at+jwt' })).toString('base64url')
  const other = await foreign.exchange(await foreign.register({ scopes: ['devices:read'], audiences: [audience] }))
  const unaddressed = await grantd.exchange(await grantd.register({ scopes: ['devices:read'] }))
  for (const [what, bad] of [
    ['tampered', `${header}.${umbrella}.${signature}`],
    ['unsigned', `${unsigned}.${payload}.`],
    ['foreign', other.json().access_token],
    ['for the default audience', unaddressed.json().access_token],
    ['stale', (await stale.exchange(registration)).json().access_token],
    ['an admin token', await grantd.adminToken(['acme'])],
    ['missing', undefined]
  ] as const) {
    const answer = await listDevices('acme', bad)
    t.equal(answer.status, 401, what)
    t.match(answer.headers['www-authenticate'], /^Bearer .*resource_metadata="/)
  }
})

t.test('while the keys cannot be fetched, no token is called invalid: the answer is 503', async t => {
  const grantd = await startApp(t)
  const registration = await grantd.register({ scopes: ['devices:read'], audiences: ['http://127.0.0.1'] })
  const { access_token: token } = (await grantd.exchange(registration)).json()
  for (const [what, status, body] of [
    ['an error of the issuer', 500, ''],
    ['a page of a proxy', 200, '<html>'],
    ['no set of keys', 200, '{}']
  ] as const) {
    const issuer = createServer((_request, response) => response.writeHead(status).end(body))
    await new Promise<void>(resolve => issuer.listen(0, '127.0.0.1', resolve))
    t.teardown(() => issuer.close())
    const address = Object(issuer.address())
    const { listDevices } = await startDevicesApi(t, `http://127.0.0.1:${address.port}`)
    t.equal((await listDevices('acme', token)).status, 503, what)
  }
})
