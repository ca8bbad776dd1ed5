import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import path from 'node:path'
import t from 'tap'
import { freePort } from '../fixtures/app/app.ts'
import { leftOutFor } from '../fixtures/faults/debian.ts'
import { temporaryFolder } from '../fixtures/run/process.ts'
import { exampleOf } from './page.ts'
import { startProgram } from './program.ts'
import { startIssuer } from './tokens.ts'
import { holdsAgainst, verifierAt } from './verifier.ts'

const GO_PATH = '/usr/share/gocode'
const NEEDS = {
  go: 'golang-go',
  [`${GO_PATH}/src/github.com/coreos/go-oidc/oidc.go`]: 'golang-github-coreos-go-oidc-dev'
}

t.test('go-oidc finds grantd by NewProvider(issuer), and verifies its tokens', { skip: leftOutFor(NEEDS) }, async t => {
  const tokens = await startIssuer(t)
  const port = await freePort()
  const folder = temporaryFolder(t)
  const program = exampleOf('Go with go-oidc', {
    'https://grantd.example.com': tokens.issuer,
    '127.0.0.1:4000': `127.0.0.1:${port}`,
    // Debian has the second major version, whose import path has no version.
    'github.com/coreos/go-oidc/v3/oidc': 'github.com/coreos/go-oidc'
  })
  writeFileSync(path.join(folder, 'main.go'), program)
  const { PATH = '' } = process.env
  const env = { PATH, HOME: folder, GOCACHE: path.join(folder, 'cache'), GOPATH: GO_PATH, GO111MODULE: 'off' }
  const binary = path.join(folder, 'verifier')
  const build = spawn('go', ['build', '-o', binary, path.join(folder, 'main.go')], { env, stdio: 'inherit' })
  const [status] = await once(build, 'exit')
  t.equal(status, 0, 'it compiles')
  startProgram(t, binary, [])
  await holdsAgainst(t, await verifierAt(port), tokens)
})
