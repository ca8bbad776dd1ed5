import { spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import path from 'node:path'
import t from 'tap'
import { inDays } from '../fixtures/app/registration.ts'
import { ROOT } from '../fixtures/run/paths.ts'
import { spawnServer, temporaryFolder, untilReady } from '../fixtures/run/process.ts'

t.test(
  'in development mode, three calls without a URL or a token register a service, get its token and read it',
  async t => {
    const DATA_DIR = temporaryFolder(t)
    const server = await spawnServer(t, { DATA_DIR })
    await untilReady(server)
    const variables = { DATA_DIR, PORT: new URL(server.baseUrl).port }
    const { clientId, clientSecret } = JSON.parse(
      cli(['createAppRegistration', '--siteId', 'acme', '-f', '-'], {
        ...{ variables, input: `name: by the command line\nexpiresAt: ${inDays(30)}\nscopes: [devices:read]\n` }
      }).stdout
    )
    const token = cli(['exchangeCredentials', '--client_id', clientId, '--client_secret', '@-'], {
      ...{ variables, input: `${clientSecret}\n` }
    })
    t.match(JSON.parse(token.stdout), { token_type: 'Bearer', scope: 'devices:read' })
    const read = cli(['getAppRegistration', '--siteId', 'acme', '--clientId', clientId], { variables })
    t.match(JSON.parse(read.stdout), { name: 'by the command line', exchangeCount: 1 })
    t.match(read, { status: 0, stderr: '' })
  }
)

t.test('a failure exits with 1 and a wrong command with 2, with a sentence on the standard error', async t => {
  const away = cli(['getJwks'], { variables: { GRANTD_URL: 'http://127.0.0.1:9' } })
  t.match(away, { status: 1, stdout: '', stderr: /^http:\/\/127\.0\.0\.1:9 cannot be reached: .+\n$/ })
  t.match(cli(['nothing']), { status: 2, stdout: '', stderr: /^openapi\.yaml has no operation "nothing".+\n$/ })
})

t.test('a token that no header can have is a wrong command, and no part of it is printed', async t => {
  const DATA_DIR = temporaryFolder(t)
  const file = path.join(DATA_DIR, 'token')
  const wrong = 'GRANTD_TOKEN must be one line of characters that a header can have, without spaces'
  for (const token of ['eyJsecret\r\npart2', 'eyJsecret…part2']) {
    writeFileSync(file, `${token}\n`)
    for (const script of ['src/commands/cli.ts', 'src/commands/apply.ts']) {
      const words = script.endsWith('cli.ts') ? ['listAppRegistrations', '--siteId', 'acme'] : ['-']
      const { status, stdout, stderr } = command(script, words, {
        variables: { GRANTD_URL: 'http://127.0.0.1:9', GRANTD_TOKEN_FILE: file },
        input: 'site: acme\nregistrations: [{key: a}]\n'
      })
      t.equal(status, 2, script)
      t.match(stderr, wrong, script)
      t.notMatch(stdout + stderr, /secret|part2/, script)
    }
  }
})

t.test('a wrong configuration is a wrong command', async t => {
  for (const variables of [{ GRANTD_TOKEN_FILE: '/nowhere' }, { GRANTD_URL: 'grantd.example.com' }]) {
    const [name = ''] = Object.keys(variables)
    const answer = cli(['listAppRegistrations', '--siteId', 'acme'], { variables })
    t.match(answer, { status: 2, stdout: '', stderr: new RegExp(`${name}.*\n$`) }, name)
  }
})

/** Runs the command line in a process of its own, in an environment of only these variables. */
function cli(words: readonly string[], surroundings: Surroundings = {}) {
  return command('src/commands/cli.ts', words, surroundings)
}

interface Surroundings {
  variables?: object
  input?: string
}

function command(script: string, words: readonly string[], { variables = {}, input = '' }: Surroundings) {
  const { PATH = '' } = process.env
  const env = { PATH, NODE_COMPILE_CACHE: path.join(ROOT, 'node_modules/.cache/compile'), ...variables }
  return spawnSync(process.execPath, [script, ...words], { cwd: ROOT, env, input, encoding: 'utf8' })
}
