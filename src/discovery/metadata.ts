import { AUTHORIZATION_PATH } from '../oauth/authorization/routes.ts'
import { ASSERTION_ALGORITHMS } from '../oauth/client-authentication/assertion-algorithms.ts'
import { CLIENT_AUTHENTICATION_METHODS } from '../oauth/client-authentication/methods.ts'
import { PROOF_ALGORITHMS } from '../oauth/dpop/proof-checks.ts'
import { endpointUrl } from '../oauth/endpoint-url.ts'
import { INTROSPECTION_PATH } from '../oauth/introspection/routes.ts'
import { REVOCATION_PATH } from '../oauth/revocation/routes.ts'
import { TOKEN_PATH } from '../oauth/token/routes.ts'
import { JWKS_PATH } from '../signing-keys/routes.ts'
import type { MetadataBody } from './schemas.ts'

export interface MetadataOptions {
  issuer: string
  /** Path of the API reference. */
  docsPath: string
  /** Undefined when any scope is supported. */
  scopesSupported: readonly string[] | undefined
  publishesAuthorizationEndpoint: boolean
}

/** Returns the authorization server metadata (RFC 8414 §2). Its URLs come from ISSUER, never from a request. */
export function metadataOf(options: MetadataOptions): MetadataBody {
  const { issuer, docsPath, scopesSupported, publishesAuthorizationEndpoint } = options
  const methods = CLIENT_AUTHENTICATION_METHODS.map(({ name }) => name)
  return {
    issuer,
    ...(publishesAuthorizationEndpoint && { authorization_endpoint: endpointUrl(issuer, AUTHORIZATION_PATH) }),
    token_endpoint: endpointUrl(issuer, TOKEN_PATH),
    jwks_uri: endpointUrl(issuer, JWKS_PATH),
    ...(scopesSupported !== undefined && { scopes_supported: [...scopesSupported] }),
    response_types_supported: [],
    grant_types_supported: ['client_credentials'],
    token_endpoint_auth_methods_supported: methods,
    token_endpoint_auth_signing_alg_values_supported: ASSERTION_ALGORITHMS,
    revocation_endpoint: endpointUrl(issuer, REVOCATION_PATH),
    revocation_endpoint_auth_methods_supported: methods,
    revocation_endpoint_auth_signing_alg_values_supported: ASSERTION_ALGORITHMS,
    introspection_endpoint: endpointUrl(issuer, INTROSPECTION_PATH),
    introspection_endpoint_auth_methods_supported: methods,
    introspection_endpoint_auth_signing_alg_values_supported: ASSERTION_ALGORITHMS,
    dpop_signing_alg_values_supported: PROOF_ALGORITHMS,
    service_documentation: endpointUrl(issuer, docsPath)
  }
}

/**
 * Returns the paths at which a document is served. For an issuer with a path, clients insert the well-known path before
 * that path (RFC 8414 §3.1) or append it (OpenID Connect Discovery 1.0 §4.1). A proxy may strip the issuer's path, so
 * the plain well-known path answers too.
 */
export function wellKnownPaths(issuer: string, name: string): string[] {
  const wellKnown = `/.well-known/${name}`
  const path = routePattern(new URL(issuer).pathname.replace(/\/$/, ''))
  return [...new Set([wellKnown, wellKnown + path, path + wellKnown])]
}

/** The router matches decoded paths, in which a single colon would begin a parameter. */
function routePattern(pathname: string): string {
  return decodeURI(pathname).replaceAll(':', '::')
}
