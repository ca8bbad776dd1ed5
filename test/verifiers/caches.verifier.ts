import t from 'tap'
import { until } from '../fixtures/run/until.ts'
import { apacheLeftOutFor, startApache } from './apache.ts'
import { exampleOf } from './page.ts'
import { startIssuer } from './tokens.ts'
import { verifierAt } from './verifier.ts'

const GRANTD = 'https://grantd.example.com'
const oauth2 = { skip: apacheLeftOutFor('oauth2') }

t.test('mod_oauth2 keeps a token that it has verified past its exp, unless expiry is set', oauth2, async t => {
  const tokens = await startIssuer(t)
  const example = exampleOf('Apache with mod_oauth2', { [GRANTD]: tokens.issuer })
  const asShown = await verifierAt(await startApache(t, 'oauth2', example))
  const byDefault = await verifierAt(await startApache(t, 'oauth2', example.replace('&expiry=1', '')))
  const exp = Math.floor(Date.now() / 1_000) + 4
  const token = await tokens.sign({ exp })
  t.same([await asShown(token), await byDefault(token)], [true, true], 'both accept it')
  await until('it has been expired for longer than asShown keeps it', () => Date.now() / 1_000 > exp + 2)
  t.equal(await asShown(token), false)
  t.equal(await byDefault(token), true)
})
