import { PROBLEM_CODES } from '../http/problem.ts'
import { OAUTH_ERROR_CODES } from '../oauth/oauth-error.ts'

/** The calls that most callers need, in the order in which they need them. openapi.yaml has all others. */
const USEFUL_CALLS = [
  {
    ...{ operationId: 'createAppRegistration', method: 'POST', path: '/v1/sites/{siteId}/app-registrations' },
    use: 'registers a service. The answer is the only one with its `clientSecret`'
  },
  {
    ...{ operationId: 'exchangeCredentials', method: 'POST', path: '/oauth/token' },
    use: 'gets an access token: a form with `grant_type=client_credentials` and the credentials of the service'
  },
  {
    ...{ operationId: 'listAppRegistrations', method: 'GET', path: '/v1/sites/{siteId}/app-registrations' },
    use: 'finds registrations, with `search`, `state`, `sort` and pages'
  },
  {
    ...{
      operationId: 'rotateClientSecret',
      method: 'POST',
      path: '/v1/sites/{siteId}/app-registrations/{clientId}/rotate-secret'
    },
    use: 'replaces the credential. The one before works for `overlapSeconds` more'
  },
  {
    ...{
      operationId: 'diagnoseAppRegistration',
      method: 'GET',
      path: '/v1/sites/{siteId}/app-registrations/{clientId}/diagnosis'
    },
    use: 'says why a service gets no token'
  }
] as const

/**
 * Returns a short description of grantd for programs that read text, in the format of llmstxt.org.
 *
 * @param issuer base of all links
 */
export function describeForAgents(issuer: string): string {
  const base = issuer.replace(/\/$/, '')
  const calls = USEFUL_CALLS.map(
    ({ operationId, method, path, use }, index) => `${index + 1}. \`${method} ${path}\` (${operationId}) ${use}.`
  )
  return `# grantd

> grantd is an OAuth 2.0 authorization service for machine-to-machine callers. A Site administrator creates an App
> registration for a service. The service exchanges its credential for a short-lived access token
> (\`client_credentials\`, RFC 6749 §4.4). Any API verifies that token with the public keys, without calling grantd.

A pipeline that declares registrations gives each a key of its own, and sends the whole of it again at every run:
\`PUT /v1/sites/{siteId}/keyed-app-registrations/{key}\` (putKeyedAppRegistration) creates it or changes what differs.

All paths are below ${base}. Calls of \`/v1\` need an administrator's token as \`Authorization: Bearer\`. JSON is camelCase,
times are RFC 3339, and an unknown member is refused.

## Documents

- [openapi.yaml](${base}/openapi.yaml): every operation, field and status (OpenAPI 3.0.3)
- [API reference](${base}/docs/): the same as a page
- [Authorization server metadata](${base}/.well-known/oauth-authorization-server): endpoints and features (RFC 8414)
- [Public keys](${base}/.well-known/jwks.json): the keys that verify access tokens (RFC 7517)

## The five most useful calls

${calls.join('\n')}

## Error codes

- OAuth endpoints answer \`{"error": …, "error_description": …}\`: ${OAUTH_ERROR_CODES.join(', ')}.
- All others answer \`application/problem+json\` with a \`code\`, and a list \`errors\` with each fault of a request:
  ${PROBLEM_CODES.join(', ')}.
- After 429 and 503, wait for \`Retry-After\` seconds and try again. Correct a request that was answered with another 4xx.
`
}
