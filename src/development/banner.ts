import { DAY_MS } from '../time.ts'

/** Where the first line leaves its answer for the others: the folder of whoever pastes them. */
const FILE = 'first-registration.json'

/**
 * What `npm start` prints in development mode: a token and three lines that show the whole way.
 * Each line works by itself, in any shell, in order.
 */
export function banner(baseUrl: string, adminToken: string): string {
  const expiresAt = new Date(Date.now() + 365 * DAY_MS).toISOString()
  const registrations = `${baseUrl}/v1/sites/acme/app-registrations`
  const member = (name: string) => `sed 's/.*"${name}":"\\([^"]*\\)".*/\\1/' ${FILE}`
  return `
grantd is listening on ${baseUrl} in DEVELOPMENT MODE: it signs admin tokens itself. Never use it like this in production.

Admin token, of a Global Administrator, for 12 hours:

${adminToken}

1. Make a registration, 2. exchange its credentials for an access token, 3. read it again, with Last used filled in:

curl -sS -w '\\n' ${registrations} -H 'Authorization: Bearer ${adminToken}' -H 'Content-Type: application/json' -d '{"name":"my first service","expiresAt":"${expiresAt}","scopes":["devices:read"]}' | tee ${FILE}

curl -sS -w '\\n' ${baseUrl}/oauth/token -u "$(${member('clientId')}):$(${member('clientSecret')})" -d grant_type=client_credentials

curl -sS -w '\\n' "${registrations}/$(${member('clientId')})" -H 'Authorization: Bearer ${adminToken}'

API reference: ${baseUrl}/docs

`
}
