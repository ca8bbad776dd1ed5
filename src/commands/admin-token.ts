import { parseArgs } from 'node:util'
import { isSiteId, SITE_ID_PATTERN } from '../admin-api/site.ts'
import { processConfig } from '../config/config.ts'
import { isDevelopmentFolder, openDevelopmentMode } from '../development/admin-issuer.ts'
import { run } from './run.ts'

/** `npm run admin-token`: prints an admin token of development mode, for the Sites in `--site` or for all Sites. */

await run(async () => {
  const { values } = parseArgs({ options: { site: { type: 'string', multiple: true, default: ['*'] } } })
  const wrong = values.site.find(site => site !== '*' && !isSiteId(site))
  if (wrong !== undefined) throw new Error(`--site must match ${SITE_ID_PATTERN}, or be * for all Sites`)
  const { admin, dataFolder } = processConfig()
  if (admin.identityProvider !== undefined) {
    throw new Error('ADMIN_ISSUER is set, so your identity provider issues admin tokens, not grantd')
  }
  if (!isDevelopmentFolder(dataFolder)) {
    throw new Error(`DATA_DIR: ${dataFolder} has no key of development mode. Start grantd with this folder first`)
  }
  const { signToken } = await openDevelopmentMode(dataFolder, admin.sitesClaim)
  return signToken(values.site)
}, 'no admin token')
