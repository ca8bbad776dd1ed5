import t from 'tap'
import { apacheLeftOutFor, startApache } from './apache.ts'
import { exampleOf } from './page.ts'
import { startHttpsIssuer } from './tls-proxy.ts'
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
  const tokens = await startHttpsIssuer(t)
  const example = exampleOf('Apache with mod_auth_openidc', { [GRANTD]: tokens.issuer })
  const accepts = await verifierAt(await startApache(t, 'auth_openidc', example))
  await holdsAgainst(t, accepts, tokens, [OTHER_TYPE])
})
