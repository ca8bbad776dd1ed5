import { createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import path from 'node:path'
import t from 'tap'
import { freePort } from '../fixtures/app/app.ts'
import { leftOutFor } from '../fixtures/faults/debian.ts'
import { HAPROXY, startHaproxy } from '../fixtures/faults/haproxy.ts'
import { temporaryFolder } from '../fixtures/run/process.ts'
import { exampleOf } from './page.ts'
import { startIssuer } from './tokens.ts'
import { holdsAgainst, verifierAt } from './verifier.ts'

t.test('haproxy verifies the tokens for its audience, scope and Site only', { skip: leftOutFor(HAPROXY) }, async t => {
  const tokens = await startIssuer(t)
  const { keys } = (await tokens.grantd.send('GET', '/.well-known/jwks.json')).json()
  const folder = temporaryFolder(t)
  const fileOf = (name: string, key: KeyObject): string => {
    const file = path.join(folder, name)
    writeFileSync(file, key.export({ type: 'spki', format: 'pem' }))
    return file
  }
  // As around a rotation: the other key comes first.
  const { publicKey: other } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const port = await freePort()
  const example = exampleOf('haproxy', {
    'https://grantd.example.com': tokens.issuer,
    '/etc/haproxy/grantd-1.pem': fileOf('1.pem', other),
    '/etc/haproxy/grantd-2.pem': fileOf('2.pem', createPublicKey({ key: keys[0], format: 'jwk' })),
    '127.0.0.1:4000': `127.0.0.1:${port}`
  })
  const backend =
    'backend devices\n  mode http\n  http-request return status 200 content-type text/plain string devices'
  await startHaproxy(t, `  mode http\n${example}\n${backend}\n`)
  await holdsAgainst(t, await verifierAt(port), tokens)
})
