import t from 'tap'
import { startApp } from '../fixtures/app/app.ts'

const PATH = '/.well-known/oauth-authorization-server'

t.test('the metadata list what works and nothing else (RFC 8414 §2)', async t => {
  const grantd = await startApp(t, { environment: { ISSUER: 'https://grantd.example' } })
  const answer = await grantd.send('GET', PATH)
  t.equal(answer.status, 200)
  t.same(answer.json(), {
    issuer: 'https://grantd.example',
    token_endpoint: 'https://grantd.example/oauth/token',
    jwks_uri: 'https://grantd.example/.well-known/jwks.json',
    response_types_supported: [],
    grant_types_supported: ['client_credentials'],
    token_endpoint_auth_methods_supported: ['client_secret_basic', 'client_secret_post'],
    service_documentation: 'https://grantd.example/docs'
  })
})

t.test(
  'the metadata of an issuer with a path are at the well-known path followed by that path (RFC 8414 §3.1)',
  async t => {
    const grantd = await startApp(t, { environment: { ISSUER: 'https://example.com/grantd' } })
    for (const path of [PATH, `${PATH}/grantd`]) {
      t.match((await grantd.send('GET', path)).json(), {
        issuer: 'https://example.com/grantd',
        token_endpoint: 'https://example.com/grantd/oauth/token'
      })
    }
  }
)
