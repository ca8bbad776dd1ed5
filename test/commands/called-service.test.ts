import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import t, { type Test } from 'tap'
import { calledService } from '../../src/commands/called-service.ts'
import { loadConfig } from '../../src/config/config.ts'
import { openDevelopmentMode } from '../../src/development/admin-issuer.ts'
import { temporaryFolder } from '../fixtures/run/process.ts'

t.test(
  'a command calls the grantd of GRANTD_URL with GRANTD_TOKEN, in production too and without a database',
  async t => {
    const environment = {
      NODE_ENV: 'production',
      GRANTD_URL: 'https://auth.example.com/grantd/',
      GRANTD_TOKEN: 'token'
    }
    const { baseUrl, token, adminToken } = calledService(loadConfig(environment, 'call'))
    t.equal(baseUrl, 'https://auth.example.com/grantd')
    t.equal(token(), 'token')
    t.equal(await adminToken(), 'token')
  }
)

t.test('without GRANTD_URL, a command calls the grantd of HOST and PORT on this machine', async t => {
  for (const [environment, url] of [
    [{}, 'http://127.0.0.1:3000'],
    [{ PORT: '4711', HOST: '0.0.0.0' }, 'http://127.0.0.1:4711'],
    [{ HOST: '::' }, 'http://[::1]:3000'],
    [{ HOST: '::1' }, 'http://[::1]:3000']
  ] as const) {
    const { baseUrl, token } = calledService(loadConfig(environment, 'call'))
    t.equal(baseUrl, url)
    t.throws(token, { name: 'UsageError', message: /^GRANTD_TOKEN or GRANTD_TOKEN_FILE must be set/ })
  }
})

t.test(
  'the token of development mode never goes to another host, nor to a grantd with an identity provider',
  async t => {
    const DATA_DIR = temporaryFolder(t)
    await openDevelopmentMode(DATA_DIR, 'site_admin')
    const provider = { ADMIN_ISSUER: 'https://id.example.com', ADMIN_AUDIENCE: 'grantd' }
    for (const environment of [{ GRANTD_URL: 'https://auth.example.com' }, { HOST: '10.0.0.1' }, provider]) {
      const { adminToken } = calledService(loadConfig({ DATA_DIR, ...environment }, 'call'))
      await t.rejects(adminToken(), { name: 'UsageError', message: /^GRANTD_TOKEN must be set/ })
    }
    const { adminToken } = calledService(loadConfig({ DATA_DIR: temporaryFolder(t) }, 'call'))
    await t.rejects(
      adminToken(),
      { name: 'UsageError', message: /^GRANTD_TOKEN must be set/ },
      'a folder in which grantd has not run'
    )
  }
)

t.test('a token of development mode is signed only for a service whose metadata names the issuer', async t => {
  const DATA_DIR = temporaryFolder(t)
  await openDevelopmentMode(DATA_DIR, 'site_admin')
  let answer: Reply = { status: 200, text: '' }
  const server = createServer((_request, response) => {
    response.writeHead(answer.status, { 'content-type': answer.type ?? 'application/json', location: '/' })
    response.end(answer.text)
  })
  const PORT = String(await listening(t, server))
  const tokenOf = (environment: object) => calledService(loadConfig({ DATA_DIR, ...environment }, 'call')).adminToken()

  answer = { status: 200, text: JSON.stringify({ issuer: `http://127.0.0.1:${PORT}` }) }
  t.match(await tokenOf({ PORT }), /^eyJ/)
  t.match(await tokenOf({ GRANTD_URL: `http://127.0.0.1:${PORT}/` }), /^eyJ/)
  const message = /its issuer is not http:\S+\. Set PORT, HOST and ISSUER as this grantd has them/
  answer = { status: 200, text: '{"issuer":"https://auth.example.com"}' }
  t.match(await tokenOf({ PORT, ISSUER: 'https://auth.example.com' }), /^eyJ/)
  await t.rejects(tokenOf({ PORT }), { message }, 'the command lacks the ISSUER of the service')
  for (const other of [
    { status: 200, text: JSON.stringify({ issuer: 'http://127.0.0.1:1' }) },
    { status: 200, text: '<html>', type: 'text/html' },
    { status: 200, text: 'no JSON' },
    { status: 200, text: 'null' },
    { status: 302, text: JSON.stringify({ issuer: `http://127.0.0.1:${PORT}` }) },
    { status: 404, text: '{"error":"not_found"}' }
  ]) {
    answer = other
    await t.rejects(tokenOf({ PORT }), { message }, other.text)
  }
  await t.rejects(tokenOf({ PORT: '9' }), { message: /cannot be reached: .+\. Set PORT, HOST and ISSUER/ })
})

interface Reply {
  status: number
  text: string
  type?: string
}

async function listening(t: Test, server: Server): Promise<number> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  const address = server.address()
  return typeof address === 'object' && address !== null ? address.port : 0
}
