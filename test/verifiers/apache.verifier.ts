import t from 'tap'
import { freePort } from '../fixtures/app/app.ts'
import { apacheLeftOutFor, startApache } from './apache.ts'
import { exampleOf } from './page.ts'
import { startTlsProxy } from './tls-proxy.ts'
import { OTHER_TYPE, startIssuer } from './tokens.ts'
import { holdsAgainst, verifierAt } from './verifier.ts'

const GRANTD = 'https://grantd.example.com'
const oauth2 = { skip: apacheLeftOutFor('oauth2') }
const openidc = { skip: apacheLeftOutFor('auth_openidc') }

t.test('mod_oauth2 verifies the tokens for its audience, scope and Site only', oauth2, async t => {
  const tokens = await startIssuer(t)
  const example = exampleOf('Apache with mod_oauth2', { [GRANTD]: tokens.issuer })
  const accepts = await verifierAt(await startApache(t, 'oauth2', example))
  await holdsAgainst(t, accepts, tokens, [OTHER_TYPE])
})

t.test('mod_auth_openidc verifies the tokens for its audience, scope and Site only', openidc, async t => {
  const tlsPort = await freePort()
  const tokens = await startIssuer(t, `https://127.0.0.1:${tlsPort}`)
  await startTlsProxy(t, tlsPort, tokens.grantd.baseUrl)
  const example = exampleOf('Apache with mod_auth_openidc', { [GRANTD]: tokens.issuer })
  // The certificate of the proxy is made for a test.
  const configuration = `OIDCOAuthSSLValidateServer Off\nOIDCCryptoPassphrase test\n${example}`
  const accepts = await verifierAt(await startApache(t, 'auth_openidc', configuration))
  await holdsAgainst(t, accepts, tokens, [OTHER_TYPE])
})
