import { generateKeyPairSync } from 'node:crypto'
import t from 'tap'
import type { RotatingKeySet } from '../../src/signing-keys/key-set.ts'
import { startApp } from '../fixtures/app/app.ts'
import { send } from '../fixtures/app/grantd.ts'

const PATH = '/.well-known/oauth-authorization-server'
const OPENID_PATH = '/.well-known/openid-configuration'

t.test('the metadata list what works and nothing else (RFC 8414 §2)', async t => {
  const grantd = await startApp(t, { environment: { ISSUER: 'https://grantd.example' } })
  const answer = await grantd.send('GET', PATH)
  t.equal(answer.status, 200)
  const methods = ['client_secret_basic', 'client_secret_post', 'private_key_jwt']
  const algorithms = ['ES256', 'ES384', 'EdDSA', 'Ed25519', 'PS256', 'RS256']
  t.same(answer.json(), {
    issuer: 'https://grantd.example',
    token_endpoint: 'https://grantd.example/oauth/token',
    jwks_uri: 'https://grantd.example/.well-known/jwks.json',
    response_types_supported: [],
    grant_types_supported: ['client_credentials'],
    token_endpoint_auth_methods_supported: methods,
    token_endpoint_auth_signing_alg_values_supported: algorithms,
    revocation_endpoint: 'https://grantd.example/oauth/revoke',
    revocation_endpoint_auth_methods_supported: methods,
    revocation_endpoint_auth_signing_alg_values_supported: algorithms,
    introspection_endpoint: 'https://grantd.example/oauth/introspect',
    introspection_endpoint_auth_methods_supported: methods,
    introspection_endpoint_auth_signing_alg_values_supported: algorithms,
    dpop_signing_alg_values_supported: ['ES256', 'EdDSA', 'Ed25519', 'PS256', 'RS256'],
    service_documentation: 'https://grantd.example/docs'
  })
})

t.test('openid-configuration has the metadata and the two members that OpenID verifiers need, no other', async t => {
  const grantd = await startApp(t, { environment: { SCOPES_SUPPORTED: 'a b', PUBLISH_AUTHORIZATION_ENDPOINT: 'true' } })
  const [metadata, openid] = [await grantd.send('GET', PATH), await grantd.send('GET', OPENID_PATH)]
  t.equal(openid.status, 200)
  t.same(openid.json(), {
    ...metadata.json(),
    subject_types_supported: ['public'],
    id_token_signing_alg_values_supported: ['ES256']
  })
  for (const { headers } of [metadata, openid]) {
    t.equal(headers['cache-control'], 'public, max-age=300')
    t.match(headers['content-type'], /^application\/json\b/)
  }
})

t.test('id_token_signing_alg_values_supported has the algorithm of each key that the JWKS holds now', async t => {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  let algorithms = ['ES256']
  const keySet: RotatingKeySet = {
    active: { kid: 'k', algorithm: 'ES256', privateKey, header: '' },
    activeKid: 'k',
    activeTimes: undefined,
    published: async () => algorithms.map(alg => ({ kty: 'EC', alg, kid: 'k', use: 'sig' })),
    verificationKey: () => undefined,
    learn: async () => {},
    cacheSeconds: () => 300,
    refresh: async () => {}
  }
  const grantd = await startApp(t, { keySet })
  for (algorithms of [['ES256'], ['ES256', 'ES256', 'EdDSA'], ['EdDSA']]) {
    const { keys } = (await grantd.send('GET', '/.well-known/jwks.json')).json()
    const inJwks = new Set(keys.map(({ alg }: { alg: string }) => alg))
    const { id_token_signing_alg_values_supported: listed } = (await grantd.send('GET', OPENID_PATH)).json()
    t.same(listed, [...inJwks])
  }
})

t.test(
  'both documents of an issuer with a path are at the well-known path, before that path and after it (RFC 8414 §3.1, OpenID Connect Discovery 1.0 §4.1)',
  async t => {
    for (const issuer of ['https://example.com/grantd', 'https://example.com/a/b:c@d/']) {
      const grantd = await startApp(t, { environment: { ISSUER: issuer } })
      const path = new URL(issuer).pathname.replace(/\/$/, '')
      for (const wellKnown of [PATH, OPENID_PATH]) {
        for (const url of [wellKnown, `${wellKnown}${path}`, `${path}${wellKnown}`]) {
          const token_endpoint = `https://example.com${path}/oauth/token`
          t.match((await grantd.send('GET', url)).json(), { issuer, token_endpoint }, url)
        }
        for (const url of [`${wellKnown}/other`, `${wellKnown}${path}x`, `/other${wellKnown}`, `${wellKnown}/`]) {
          t.equal((await send('GET', grantd.baseUrl + url)).status, 404, url)
        }
      }
    }
  }
)

t.test('scopes_supported is the catalogue, and absent without one', async t => {
  const grantd = await startApp(t, { environment: { SCOPES_SUPPORTED: 'devices:read devices:write' } })
  t.same((await grantd.send('GET', PATH)).json().scopes_supported, ['devices:read', 'devices:write'])
})

t.test(
  'with PUBLISH_AUTHORIZATION_ENDPOINT the metadata names the endpoint, and response_types_supported stays empty',
  async t => {
    const environment = { ISSUER: 'https://example.com/grantd', PUBLISH_AUTHORIZATION_ENDPOINT: 'true' }
    const grantd = await startApp(t, { environment })
    const metadata = (await grantd.send('GET', PATH)).json()
    t.equal(metadata.authorization_endpoint, 'https://example.com/grantd/oauth/authorize')
    t.same(metadata.response_types_supported, [])
    t.same(metadata.grant_types_supported, ['client_credentials'])
    t.notMatch(JSON.stringify(metadata), /code|pkce/i)
  }
)
