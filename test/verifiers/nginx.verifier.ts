import t from 'tap'
import { leftOutFor } from '../fixtures/faults/debian.ts'
import { NGINX, startNginx } from './nginx.ts'
import { startNodeExample } from './node-program.ts'
import { startIssuer } from './tokens.ts'
import { holdsAgainst, verifierAt } from './verifier.ts'

t.test('nginx lets the verifier beside it decide, and forwards nothing else', { skip: leftOutFor(NGINX) }, async t => {
  const tokens = await startIssuer(t)
  const verifier = await startNodeExample(t, 'Node.js with jose', { 'https://grantd.example.com': tokens.issuer })
  await verifierAt(verifier)
  const port = await startNginx(t, 'nginx with auth_request', { '127.0.0.1:4001': `127.0.0.1:${verifier}` })
  await holdsAgainst(t, await verifierAt(port), tokens)
})
