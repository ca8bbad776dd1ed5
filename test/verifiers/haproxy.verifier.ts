import { createPublicKey } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import path from 'node:path'
import t from 'tap'
import { freePort } from '../fixtures/app/app.ts'
import { leftOutFor } from '../fixtures/faults/debian.ts'
import { HAPROXY, startHaproxy } from '../fixtures/faults/haproxy.ts'
import { temporaryFolder } from '../fixtures/run/process.ts'
import { exampleOf, holdsAgainst, serverAt, startIssuer } from './tokens.ts'

t.test('haproxy verifies the tokens for its audience only', { skip: leftOutFor(HAPROXY) }, async t => {
  const tokens = await startIssuer(t)
  const { keys } = (await tokens.grantd.send('GET', '/.well-known/jwks.json')).json()
  const pem = path.join(temporaryFolder(t), 'grantd.pem')
  writeFileSync(pem, createPublicKey({ key: keys[0], format: 'jwk' }).export({ type: 'spki', format: 'pem' }))
  const port = await freePort()
  const example = exampleOf('haproxy.', tokens.issuer, {
    '/etc/haproxy/grantd.pem': pem,
    '127.0.0.1:4000': `127.0.0.1:${port}`
  })
  const backend =
    'backend devices\n  mode http\n  http-request return status 200 content-type text/plain string devices'
  await startHaproxy(t, `  mode http\n${example}\n${backend}\n`)
  await holdsAgainst(t, await serverAt(`http://127.0.0.1:${port}/`), tokens)
})
