import { parseArgs } from 'node:util'
import { openDevelopmentMode } from './admin/development.ts'
import { processConfig } from './config.ts'

/** Door: prints an admin token in development mode, for the Sites of `--site`, or for all. */

const { values } = parseArgs({ options: { site: { type: 'string', multiple: true, default: ['*'] } } })
const { admin, dataFolder } = processConfig()
if (admin.identityProvider !== undefined) {
  process.stderr.write('ADMIN_ISSUER is set: tokens come from your identity provider, not from grantd\n')
  process.exit(1)
}
const development = await openDevelopmentMode(dataFolder, admin.sitesClaim)
process.stdout.write(`${await development.signToken(values.site)}\n`)
