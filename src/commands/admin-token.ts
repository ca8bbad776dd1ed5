import { parseArgs } from 'node:util'
import { SITE_ID_PATTERN } from '../admin-api/site.ts'
import { processConfig } from '../config/config.ts'
import { isDevelopmentFolder, openDevelopmentMode } from '../development/admin-issuer.ts'

/** Door: prints an admin token in development mode, for the Sites of `--site`, or for all. */

try {
  process.stdout.write(`${await adminToken()}\n`)
} catch (error) {
  process.stderr.write(`no admin token: ${error instanceof Error ? error.message : String(error)}\n`)
  process.exit(1)
}

async function adminToken(): Promise<string> {
  const { values } = parseArgs({ options: { site: { type: 'string', multiple: true, default: ['*'] } } })
  const wrong = values.site.find(site => site !== '*' && !new RegExp(SITE_ID_PATTERN).test(site))
  if (wrong !== undefined) throw new Error(`--site must match ${SITE_ID_PATTERN}, or be * for all`)
  const { admin, dataFolder } = processConfig()
  if (admin.identityProvider !== undefined) {
    throw new Error('ADMIN_ISSUER is set: tokens come from your identity provider, not from grantd')
  }
  if (!isDevelopmentFolder(dataFolder)) {
    throw new Error(`DATA_DIR: ${dataFolder} has no key of development mode; start grantd with it first`)
  }
  const { signToken } = await openDevelopmentMode(dataFolder, admin.sitesClaim)
  return signToken(values.site)
}
