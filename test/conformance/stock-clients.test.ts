import { createRemoteJWKSet, decodeJwt, jwtVerify } from 'jose'
import * as oauth from 'oauth4webapi'
import * as openid from 'openid-client'
import t from 'tap'
import { startApp } from '../fixtures/app/app.ts'

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
