import { createRemoteJWKSet, decodeJwt, jwtVerify } from 'jose'
import * as oauth from 'oauth4webapi'
import * as openid from 'openid-client'
import t from 'tap'
import { startApp } from '../fixtures/app/app.ts'
import { registerGateway, tokenOf } from '../fixtures/app/introspection.ts'

t.test('oauth4webapi, unmodified, discovers, exchanges and has a JWT that verifies (RFC 8414, 6749, 9068)', async t => {
  const grantd = await startApp(t)
  const { clientId, clientSecret } = await grantd.register({ scopes: ['devices:read'] })
  const issuer = new URL(grantd.baseUrl)
  const insecure = { [oauth.allowInsecureRequests]: true }
  const discovered = await oauth.discoveryRequest(issuer, { ...insecure, algorithm: 'oauth2' })
  const server = await oauth.processDiscoveryResponse(issuer, discovered)
  const client = { client_id: clientId }
  for (const authentication of [oauth.ClientSecretBasic(clientSecret), oauth.ClientSecretPost(clientSecret)]) {
    const response = await oauth.clientCredentialsGrantRequest(
      server,
      client,
      authentication,
      new URLSearchParams({ scope: 'devices:read' }),
      insecure
    )
    const token = await oauth.processClientCredentialsResponse(server, client, response)
    t.match(token, { token_type: 'bearer', expires_in: 900, scope: 'devices:read' })
    const request = new Request(`${grantd.baseUrl}/devices`, {
      headers: { authorization: `Bearer ${token.access_token}` }
    })
    const claims = await oauth.validateJwtAccessToken(server, request, grantd.baseUrl, insecure)
    t.match(claims, { sub: clientId, client_id: clientId, site: 'acme', scope: 'devices:read' })
  }
  const refused = await oauth.clientCredentialsGrantRequest(
    server,
    client,
    oauth.ClientSecretBasic('wrong'),
    new URLSearchParams(),
    insecure
  )
  const challenge = await oauth.processClientCredentialsResponse(server, client, refused).catch(error => error)
  t.match(challenge, { status: 401, cause: [{ scheme: 'basic', parameters: { error: 'invalid_client' } }] })
})

t.test('openid-client, unmodified, discovers and exchanges, and its token verifies by the JWKS', async t => {
  const grantd = await startApp(t)
  const { clientId, clientSecret } = await grantd.register({ scopes: ['devices:read'] })
  const configuration = await openid.discovery(
    new URL(grantd.baseUrl),
    clientId,
    clientSecret,
    openid.ClientSecretBasic(clientSecret),
    { algorithm: 'oauth2', execute: [openid.allowInsecureRequests] }
  )
  const token = await openid.clientCredentialsGrant(configuration, { scope: 'devices:read' })
  const { jwks_uri: jwksUri = '', issuer } = configuration.serverMetadata()
  const { payload } = await jwtVerify(token.access_token, createRemoteJWKSet(new URL(jwksUri)), {
    issuer,
    audience: issuer,
    typ: 'at+jwt'
  })
  t.equal(payload.sub, clientId)
})

t.test(
  'oauth4webapi and openid-client, unmodified, get a token for the resource that they name (RFC 8707)',
  async t => {
    const grantd = await startApp(t)
    const audiences = ['https://devices.example', 'https://billing.example/api']
    const { clientId, clientSecret } = await grantd.register({ audiences })
    const issuer = new URL(grantd.baseUrl)
    const authentication = oauth.ClientSecretBasic(clientSecret)
    const insecure = { [oauth.allowInsecureRequests]: true }
    const discovered = await oauth.discoveryRequest(issuer, insecure)
    const server = await oauth.processDiscoveryResponse(issuer, discovered)
    t.match(discovered.url, /openid-configuration$/, 'by OpenID Connect Discovery, as is the default of both')
    const configuration = await openid.discovery(
      issuer,
      clientId,
      clientSecret,
      openid.ClientSecretPost(clientSecret),
      {
        execute: [openid.allowInsecureRequests]
      }
    )
    const client = { client_id: clientId }
    const request = (resource: string) =>
      oauth
        .clientCredentialsGrantRequest(server, client, authentication, new URLSearchParams({ resource }), insecure)
        .then(response => oauth.processClientCredentialsResponse(server, client, response))
    for (const resource of audiences) {
      t.equal(decodeJwt((await request(resource)).access_token).aud, resource)
      const token = await openid.clientCredentialsGrant(configuration, { resource })
      t.equal(decodeJwt(token.access_token).aud, resource)
    }
    const other = 'https://payroll.example'
    const refusals = await Promise.allSettled([
      request(other),
      openid.clientCredentialsGrant(configuration, { resource: other })
    ])
    for (const refusal of refusals) {
      t.match(refusal, { status: 'rejected', reason: { status: 400, error: 'invalid_target' } })
    }
  }
)

t.test('oauth4webapi, unmodified, introspects a token and revokes it (RFC 7662, RFC 7009)', async t => {
  const grantd = await startApp(t)
  const gateway = await registerGateway(grantd)
  const holder = await grantd.register({ scopes: ['devices:read'] })
  const issuer = new URL(grantd.baseUrl)
  const insecure = { [oauth.allowInsecureRequests]: true }
  const discovered = await oauth.discoveryRequest(issuer, { ...insecure, algorithm: 'oauth2' })
  const server = await oauth.processDiscoveryResponse(issuer, discovered)
  const token = await tokenOf(grantd, holder)
  for (const authentication of [oauth.ClientSecretBasic, oauth.ClientSecretPost]) {
    const client = { client_id: gateway.clientId }
    const introspect = async (text: string) => {
      const proof = authentication(gateway.clientSecret)
      const response = await oauth.introspectionRequest(server, client, proof, text, insecure)
      return oauth.processIntrospectionResponse(server, client, response)
    }
    const other = await tokenOf(grantd, holder)
    for (const text of [token, other]) {
      t.match(await introspect(text), { active: true, client_id: holder.clientId, scope: 'devices:read', site: 'acme' })
    }
    const by = { client_id: holder.clientId }
    const proof = authentication(holder.clientSecret)
    const revoked = await oauth.revocationRequest(server, by, proof, other, insecure)
    t.equal(await oauth.processRevocationResponse(revoked), undefined)
    t.same(await introspect(other), { active: false })
    t.match(await introspect(token), { active: true }, 'other tokens go on')
  }
})

t.test('openid-client, unmodified, introspects a token and revokes it (RFC 7662, RFC 7009)', async t => {
  const grantd = await startApp(t)
  const gateway = await registerGateway(grantd)
  const holder = await grantd.register()
  const discover = ({ clientId, clientSecret }: typeof holder) =>
    openid.discovery(new URL(grantd.baseUrl), clientId, clientSecret, openid.ClientSecretBasic(clientSecret), {
      execute: [openid.allowInsecureRequests]
    })
  const byGateway = await discover(gateway)
  const byHolder = await discover(holder)
  const { access_token: token } = await openid.clientCredentialsGrant(byHolder)
  t.match(await openid.tokenIntrospection(byGateway, token), { active: true, sub: holder.clientId })
  t.same(await openid.tokenIntrospection(byHolder, token), { active: false }, 'not without mayIntrospect')
  await openid.tokenRevocation(byGateway, token, { token_type_hint: 'access_token' })
  t.match(await openid.tokenIntrospection(byGateway, token), { active: true }, 'not by another client')
  await openid.tokenRevocation(byHolder, token, { token_type_hint: 'access_token' })
  t.same(await openid.tokenIntrospection(byGateway, token), { active: false })
})
