import { DOCS_PATH } from '../api-reference/routes.ts'
import { DAY_MS } from '../time.ts'

/** The first command writes its answer to this file in the current folder. The others read it. */
const FILE = 'first-registration.json'

/**
 * Returns the text that `npm start` prints in development mode: an admin token, and three commands that show how grantd is
 * used. The commands work in any shell, in their order.
 */
export function banner(baseUrl: string, adminToken: string): string {
  const expiresAt = new Date(Date.now() + 365 * DAY_MS).toISOString()
  const registrations = `${baseUrl}/v1/sites/acme/app-registrations`
  const member = (name: string) => `sed 's/.*"${name}":"\\([^"]*\\)".*/\\1/' ${FILE}`
  return `
grantd is listening on ${baseUrl} in DEVELOPMENT MODE. It signs admin tokens itself. Never use this mode in production.

Admin token of a Global Administrator, valid for 12 hours:

${adminToken}

1. Create a registration. 2. Exchange its credentials for an access token. 3. Read the registration again: it has been used.

curl -sS -w '\\n' ${registrations} -H 'Authorization: Bearer ${adminToken}' -H 'Content-Type: application/json' -d '{"name":"my first service","expiresAt":"${expiresAt}","scopes":["devices:read"]}' | tee ${FILE}

curl -sS -w '\\n' ${baseUrl}/oauth/token -u "$(${member('clientId')}):$(${member('clientSecret')})" -d grant_type=client_credentials

curl -sS -w '\\n' "${registrations}/$(${member('clientId')})" -H 'Authorization: Bearer ${adminToken}'

API reference: ${baseUrl}${DOCS_PATH}

`
}
