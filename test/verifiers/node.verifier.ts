import t from 'tap'
import { startNodeExample } from './node-program.ts'
import { startHttpsIssuer } from './tls-proxy.ts'
import { startIssuer } from './tokens.ts'
import { holdsAgainst, verifierAt } from './verifier.ts'

const GRANTD = 'https://grantd.example.com'

t.test('jose verifies the tokens for its audience, scope and Site only', async t => {
  const tokens = await startIssuer(t)
  const port = await startNodeExample(t, 'Node.js with jose', { [GRANTD]: tokens.issuer })
  await holdsAgainst(t, await verifierAt(port), tokens)
})

t.test('express-oauth2-jwt-bearer verifies the tokens for its audience, scope and Site only', async t => {
  const tokens = await startIssuer(t)
  const port = await startNodeExample(t, 'Node.js with express-oauth2-jwt-bearer', { [GRANTD]: tokens.issuer })
  await holdsAgainst(t, await verifierAt(port), tokens)
})

t.test('aws-jwt-verify verifies the tokens for its audience, scope and Site only', async t => {
  const tokens = await startHttpsIssuer(t)
  const environment = { NODE_TLS_REJECT_UNAUTHORIZED: '0' }
  const port = await startNodeExample(t, 'Node.js with aws-jwt-verify', { [GRANTD]: tokens.issuer }, environment)
  await holdsAgainst(t, await verifierAt(port), tokens)
})
