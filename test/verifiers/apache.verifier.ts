import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:https'
import path from 'node:path'
import t, { type Test } from 'tap'
import { freePort } from '../fixtures/app/app.ts'
import { type Grantd, send } from '../fixtures/app/grantd.ts'
import { leftOutFor } from '../fixtures/faults/debian.ts'
import { ROOT } from '../fixtures/run/paths.ts'
import { temporaryFolder } from '../fixtures/run/process.ts'
import { exampleOf, holdsAgainst, serverAt, startIssuer } from './tokens.ts'

const MODULES = '/usr/lib/apache2/modules'
const CERTIFICATE = path.join(ROOT, 'test/fixtures/peers/hooks.example.test')

const needs = (module: string, debianPackage: string) => ({
  '/usr/sbin/apache2': 'apache2',
  [`${MODULES}/mod_${module}.so`]: debianPackage
})

/** Starts Apache with one module for tokens. */
async function startApache(t: Test, module: string, configuration: string) {
  const folder = temporaryFolder(t)
  // Apache serves as another user when it is started by root.
  chmodSync(folder, 0o755)
  const port = await freePort()
  const file = path.join(folder, 'apache.conf')
  writeFileSync(path.join(folder, 'index.html'), 'devices')
  const modules = ['mpm_event', 'authn_core', 'authz_core', 'authz_user', 'dir', module]
  const lines = [
    `ServerRoot ${folder}`,
    `PidFile ${folder}/pid`,
    `ErrorLog ${folder}/error.log`,
    `Listen 127.0.0.1:${port}`,
    'ServerName localhost',
    `DocumentRoot ${folder}`,
    ...modules.map(name => `LoadModule ${name}_module ${MODULES}/mod_${name}.so`),
    configuration
  ]
  writeFileSync(file, lines.join('\n'))
  const user = process.getuid?.() === 0 ? ['-c', 'User www-data', '-c', 'Group www-data'] : []
  const apache = spawn('/usr/sbin/apache2', ['-DFOREGROUND', '-f', file, ...user], { stdio: 'inherit' })
  const exited = once(apache, 'exit')
  t.teardown(async () => {
    apache.kill('SIGTERM')
    await exited
  })
  return serverAt(`http://127.0.0.1:${port}/index.html`)
}

/** Starts a proxy with TLS in front of grantd, which the issuer's URL leads to. */
async function startTlsProxy(t: Test, port: number, grantd: Grantd): Promise<void> {
  const pem = { cert: readFileSync(`${CERTIFICATE}.crt.pem`), key: readFileSync(`${CERTIFICATE}.key.pem`) }
  const proxy = createServer(pem, async (request, response) => {
    const { status, headers, text } = await send('GET', `${grantd.baseUrl}${request.url}`)
    response.writeHead(status, { 'content-type': String(headers['content-type']) }).end(text)
  })
  proxy.listen(port, '127.0.0.1')
  await once(proxy, 'listening')
  t.teardown(() => proxy.close())
}

const oauth2 = leftOutFor(needs('oauth2', 'libapache2-mod-oauth2'))
t.test('Apache with mod_oauth2 verifies the tokens for its audience only', { skip: oauth2 }, async t => {
  const tokens = await startIssuer(t)
  await holdsAgainst(t, await startApache(t, 'oauth2', exampleOf('Apache with mod_oauth2', tokens.issuer, {})), tokens)
})

const openidc = leftOutFor(needs('auth_openidc', 'libapache2-mod-auth-openidc'))
t.test('Apache with mod_auth_openidc verifies the tokens for its audience only', { skip: openidc }, async t => {
  const port = await freePort()
  const tokens = await startIssuer(t, `https://127.0.0.1:${port}`)
  await startTlsProxy(t, port, tokens.grantd)
  const example = exampleOf('Apache with mod_auth_openidc', tokens.issuer, {})
  // The certificate of the proxy is made for a test.
  const configuration = `OIDCOAuthSSLValidateServer Off\nOIDCCryptoPassphrase test\n${example}`
  await holdsAgainst(t, await startApache(t, 'auth_openidc', configuration), tokens)
})
