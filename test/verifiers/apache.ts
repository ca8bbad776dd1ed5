import { chmodSync, mkdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import type { Test } from 'tap'
import { freePort } from '../fixtures/app/app.ts'
import { leftOutFor } from '../fixtures/faults/debian.ts'
import { temporaryFolder } from '../fixtures/run/process.ts'
import { startProgram } from './program.ts'
import { DEVICES } from './verifier.ts'

const MODULES = '/usr/lib/apache2/modules'
/** Debian packages by module. */
const PACKAGES = { oauth2: 'libapache2-mod-oauth2', auth_openidc: 'libapache2-mod-auth-openidc' }

/** The certificate of the proxy with TLS is made for tests. */
const SETTINGS = { oauth2: [], auth_openidc: ['OIDCOAuthSSLValidateServer Off', 'OIDCCryptoPassphrase test'] }

export type TokenModule = keyof typeof PACKAGES

/** For tap's `skip`. */
export const apacheLeftOutFor = (module: TokenModule) =>
  leftOutFor({ '/usr/sbin/apache2': 'apache2', [`${MODULES}/mod_${module}.so`]: PACKAGES[module] })

/** Starts Apache with one module for tokens. @returns its port */
export async function startApache(t: Test, module: TokenModule, configuration: string): Promise<number> {
  const folder = temporaryFolder(t)
  // Apache serves as another user when it is started by root.
  chmodSync(folder, 0o755)
  const port = await freePort()
  const file = path.join(folder, 'apache.conf')
  mkdirSync(path.dirname(path.join(folder, DEVICES)), { recursive: true })
  writeFileSync(path.join(folder, DEVICES), 'devices')
  const modules = ['mpm_event', 'authn_core', 'authz_core', 'authz_user', module]
  const lines = [
    `ServerRoot ${folder}`,
    `PidFile ${folder}/pid`,
    `ErrorLog ${folder}/error.log`,
    `Listen 127.0.0.1:${port}`,
    'ServerName localhost',
    `DocumentRoot ${folder}`,
    ...modules.map(name => `LoadModule ${name}_module ${MODULES}/mod_${name}.so`),
    ...SETTINGS[module],
    configuration
  ]
  writeFileSync(file, lines.join('\n'))
  const user = process.getuid?.() === 0 ? ['-c', 'User www-data', '-c', 'Group www-data'] : []
  startProgram(t, '/usr/sbin/apache2', ['-DFOREGROUND', '-f', file, ...user])
  return port
}
