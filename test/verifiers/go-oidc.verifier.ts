import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import path from 'node:path'
import t from 'tap'
import { freePort } from '../fixtures/app/app.ts'
import { leftOutFor } from '../fixtures/faults/debian.ts'
import { temporaryFolder } from '../fixtures/run/process.ts'
import { exampleOf, holdsAgainst, serverAt, startIssuer } from './tokens.ts'

const GO_PATH = '/usr/share/gocode'
const NEEDS = {
  go: 'golang-go',
  [`${GO_PATH}/src/github.com/coreos/go-oidc/oidc.go`]: 'golang-github-coreos-go-oidc-dev'
}

t.test('go-oidc finds grantd by NewProvider(issuer), and verifies its tokens', { skip: leftOutFor(NEEDS) }, async t => {
  const tokens = await startIssuer(t)
  const port = await freePort()
  const folder = temporaryFolder(t)
  // Debian has the second major version, whose import path has no version.
  const program = exampleOf('Go with go-oidc', tokens.issuer, {
    '127.0.0.1:4000': `127.0.0.1:${port}`,
    'github.com/coreos/go-oidc/v3/oidc': 'github.com/coreos/go-oidc'
  })
  writeFileSync(path.join(folder, 'main.go'), program)
  const { PATH = '' } = process.env
  const env = { PATH, HOME: folder, GOCACHE: path.join(folder, 'cache'), GOPATH: GO_PATH, GO111MODULE: 'off' }
  const binary = path.join(folder, 'verifier')
  const build = spawn('go', ['build', '-o', binary, path.join(folder, 'main.go')], { env, stdio: 'inherit' })
  const [status] = await once(build, 'exit')
  t.equal(status, 0, 'it compiles')
  const server = spawn(binary, { stdio: 'inherit' })
  t.teardown(() => server.kill('SIGKILL'))
  await holdsAgainst(t, await serverAt(`http://127.0.0.1:${port}/`), tokens)
})
