import { spawnSync } from 'node:child_process'
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

/** Runs the command line in a process of its own, in an environment of only these variables. */
function cli(words: readonly string[], { variables = {}, input = '' }: { variables?: object; input?: string } = {}) {
  const { PATH = '' } = process.env
  const env = { PATH, NODE_COMPILE_CACHE: path.join(ROOT, 'node_modules/.cache/compile'), ...variables }
  return spawnSync(process.execPath, ['src/commands/cli.ts', ...words], { cwd: ROOT, env, input, encoding: 'utf8' })
}
