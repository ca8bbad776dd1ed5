import t from 'tap'
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

t.test('in development mode, a command finds the grantd of this machine and signs a token for it', async t => {
  const DATA_DIR = temporaryFolder(t)
  await openDevelopmentMode(DATA_DIR, 'site_admin')
  for (const [environment, url] of [
    [{}, 'http://127.0.0.1:3000'],
    [{ PORT: '4711', HOST: '0.0.0.0' }, 'http://127.0.0.1:4711'],
    [{ HOST: '::' }, 'http://[::1]:3000'],
    [{ HOST: '::1' }, 'http://[::1]:3000']
  ] as const) {
    const { baseUrl, adminToken, token } = calledService(loadConfig({ DATA_DIR, ...environment }, 'call'))
    t.equal(baseUrl, url)
    t.match(await adminToken(), /^eyJ/)
    t.throws(token, { message: /^GRANTD_TOKEN or GRANTD_TOKEN_FILE must be set/ })
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
      await t.rejects(adminToken(), { message: /^GRANTD_TOKEN must be set/ })
    }
    const { adminToken } = calledService(loadConfig({ DATA_DIR: temporaryFolder(t) }, 'call'))
    await t.rejects(adminToken(), { message: /^GRANTD_TOKEN must be set/ }, 'a folder in which grantd has not run')
  }
)
