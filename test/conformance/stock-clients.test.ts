import { calculateJwkThumbprint, createRemoteJWKSet, decodeJwt, exportJWK, jwtVerify } from 'jose'
import * as oauth from 'oauth4webapi'
import * as openid from 'openid-client'
import t from 'tap'
import { startApp } from '../fixtures/app/app.ts'
import { registerKeyClient } from '../fixtures/app/assertion.ts'
import { startDevicesApi } from '../fixtures/app/devices-api.ts'
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

/** Algorithms of proofs by the names that the libraries give them. EdDSA is the name of Ed25519 in older releases. */
const PROOF_ALGORITHMS = ['ES256', 'Ed25519', 'PS256', 'RS256']

t.test('oauth4webapi, unmodified, binds its token by DPoP with a key of each kind (RFC 9449)', async t => {
  const grantd = await startApp(t)
  const { clientId, clientSecret } = await grantd.register({ dpopBound: true })
  const issuer = new URL(grantd.baseUrl)
  const insecure = { [oauth.allowInsecureRequests]: true }
  const discovered = await oauth.discoveryRequest(issuer, { ...insecure, algorithm: 'oauth2' })
  const server = await oauth.processDiscoveryResponse(issuer, discovered)
  t.ok(PROOF_ALGORITHMS.every(alg => server.dpop_signing_alg_values_supported?.includes(alg)))
  const client: oauth.Client = { client_id: clientId }
  const authentication = oauth.ClientSecretBasic(clientSecret)
  for (const alg of PROOF_ALGORITHMS) {
    const keys = await oauth.generateKeyPair(alg, { extractable: true })
    const options = { ...insecure, DPoP: oauth.DPoP(client, keys) }
    const request = () =>
      oauth.clientCredentialsGrantRequest(server, client, authentication, new URLSearchParams(), options)
    const token = await oauth.processClientCredentialsResponse(server, client, await request())
    t.equal(token.token_type, 'dpop', alg)
    const thumbprint = await calculateJwkThumbprint(await exportJWK(keys.publicKey))
    t.same(decodeJwt(token.access_token)['cnf'], { jkt: thumbprint }, alg)
  }
  const bare = await oauth.clientCredentialsGrantRequest(
    server,
    client,
    authentication,
    new URLSearchParams(),
    insecure
  )
  const refusal = await oauth.processClientCredentialsResponse(server, client, bare).catch(error => error)
  t.match(refusal, { status: 400, error: 'invalid_dpop_proof' })
})

t.test('openid-client, unmodified, gets a bound token with a key of its own and calls a resource with it', async t => {
  const grantd = await startApp(t)
  const { audience } = await startDevicesApi(t, grantd.baseUrl)
  const { clientId, key } = await registerKeyClient(grantd, { scopes: ['devices:read'], audiences: [audience] })
  const subtle = await crypto.subtle.importKey(
    'jwk',
    key.privateKey.export({ format: 'jwk' }),
    { name: 'ECDSA', namedCurve: 'P-256' },
    false,
    ['sign']
  )
  const configuration = await openid.discovery(
    new URL(grantd.baseUrl),
    clientId,
    undefined,
    openid.PrivateKeyJwt(subtle),
    {
      algorithm: 'oauth2',
      execute: [openid.allowInsecureRequests]
    }
  )
  const DPoP = openid.getDPoPHandle(configuration, await openid.randomDPoPKeyPair())
  const token = await openid.clientCredentialsGrant(configuration, { resource: audience }, { DPoP })
  t.equal(token.token_type, 'dpop')
  const url = new URL(`${audience}/sites/acme/devices`)
  const call = (options: openid.DPoPOptions) =>
    openid.fetchProtectedResource(configuration, token.access_token, url, 'GET', undefined, undefined, options)
  t.same(await (await call({ DPoP })).json(), { devices: ['boiler 1', 'boiler 2'] })
  const thief = openid.getDPoPHandle(configuration, await openid.randomDPoPKeyPair())
  for (const options of [{ DPoP: thief }, {}]) t.match(await call(options).catch(error => error), { status: 401 })
})
