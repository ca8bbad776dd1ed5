import t from 'tap'
import { until } from '../fixtures/run/until.ts'
import { apacheLeftOutFor, startApache } from './apache.ts'
import { startModAuthOpenidc, startModOauth2 } from './gateways.ts'
import { exampleOf } from './page.ts'
import { startHttpsIssuer } from './tls-proxy.ts'
import { startIssuer } from './tokens.ts'
import { verifierAt } from './verifier.ts'

const oauth2 = { skip: apacheLeftOutFor('oauth2') }
const openidc = { skip: apacheLeftOutFor('auth_openidc') }
/** Seconds for which the token of a test is good. */
const LIFETIME = 6
const withoutExpiry = (example: string): string => example.replace('&expiry=0', '')
/** The default cache of 2.4.12 keeps nothing for a token that is as long as those of grantd. */
const withLongKeys = (example: string): string => `OIDCCacheEncrypt On\n${example}`
const withoutInterval = (example: string): string => example.replace(/.*OIDCOAuthTokenIntrospectionInterval.*\n/, '')

t.test('mod_oauth2 keeps a token that it has verified past its exp, unless expiry is 0', oauth2, async t => {
  const tokens = await startIssuer(t)
  const example = exampleOf('Apache with mod_oauth2', { 'https://grantd.example.com': tokens.issuer })
  const asShown = await verifierAt(await startApache(t, 'oauth2', example))
  const byDefault = await verifierAt(await startApache(t, 'oauth2', withoutExpiry(example)))
  const exp = Math.floor(Date.now() / 1_000) + LIFETIME
  const token = await tokens.sign({ exp })
  t.same([await asShown(token), await byDefault(token)], [true, true], 'both accept it')
  await until('it has expired', () => Date.now() / 1_000 > exp + 1)
  t.same([await asShown(token), await byDefault(token)], [false, true])
})

t.test('mod_oauth2 keeps an answer of introspection after a revocation, unless expiry is 0', oauth2, async t => {
  const tokens = await startIssuer(t)
  const asShown = await startModOauth2(t, tokens)
  const byDefault = await startModOauth2(t, tokens, withoutExpiry)
  t.same([await asShown(tokens.good), await byDefault(tokens.good)], [true, true], 'both accept it')
  t.equal((await tokens.grantd.asAdmin('POST', `${tokens.client.path}/revoke-tokens`)).status, 200)
  t.same([await asShown(tokens.good), await byDefault(tokens.good)], [false, true])
})

t.test(
  'mod_auth_openidc keeps an answer of introspection until its exp, unless its interval is -1',
  openidc,
  async t => {
    const tokens = await startHttpsIssuer(t)
    const asShown = await startModAuthOpenidc(t, tokens, withLongKeys)
    const byDefault = await startModAuthOpenidc(t, tokens, example => withLongKeys(withoutInterval(example)))
    const exp = Math.floor(Date.now() / 1_000) + LIFETIME
    const token = await tokens.sign({ exp })
    t.same([await asShown(token), await byDefault(token)], [true, true], 'both accept it')
    t.equal((await tokens.grantd.asAdmin('POST', `${tokens.client.path}/revoke-tokens`)).status, 200)
    t.same([await asShown(token), await byDefault(token)], [false, true])
    await until('it has expired', () => Date.now() / 1_000 > exp + 1)
    t.equal(await byDefault(token), false)
  }
)
