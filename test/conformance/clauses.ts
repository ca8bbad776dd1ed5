/**
 * The clauses of RFCs that bind grantd as an authorization server and as an HTTP server. `npm run conformance` prints each with its test and result.
 *
 * An id is the RFC, the section and a word. Each clause that is built has one test: a call of `clause` with its id.
 */

export interface Clause {
  id: string
  /** What the RFC requires, in a sentence. It is the name of the test. */
  requirement: string
  isBuilt: boolean
}

const BUILT = {
  // The OAuth 2.0 Authorization Framework
  '6749 §2.3 one-method': 'a request that authenticates in two ways is refused',
  '6749 §2.3.1 basic': 'a client may authenticate by HTTP Basic',
  '6749 §2.3.1 encoding': 'the Client ID and the Client secret in HTTP Basic are form-urlencoded',
  '6749 §2.3.1 uri': 'credentials in the request URI are refused',
  '6749 §2.3.1 brute-force': 'the endpoint is protected against brute force',
  '6749 §3.2 post': 'an access token request uses POST',
  '6749 §3.2 empty': 'a parameter without a value counts as omitted',
  '6749 §3.2 unknown': 'an unknown parameter is ignored',
  '6749 §3.2 once': 'a parameter that is sent twice is refused',
  '6749 §3.2.1 authenticate': 'a client that does not authenticate gets no token',
  '6749 §3.3 scope-differs': 'the response says which scope was granted when that differs from the request',
  '6749 §3.3 scope-subset': 'a part of the allowed scopes can be requested, and no other',
  '6749 §4.4.2 grant-type': 'grant_type is required, and only client_credentials is supported',
  '6749 §4.4.3 no-refresh-token': 'the response has no refresh token',
  '6749 §5.1 members': 'a successful response has access_token, token_type and expires_in',
  '6749 §5.1 json': 'a successful response is application/json',
  '6749 §5.1 no-store': 'a response with a token has Cache-Control: no-store and Pragma: no-cache',
  '6749 §5.2 status': 'an error is 400, with a code of the RFC, as application/json that is not stored',
  '6749 §5.2 challenge':
    'a client that used the Authorization header is refused with 401 and a challenge of its scheme',
  '6749 §5.2 characters': 'error_description has only the characters that the RFC allows',
  '6749 §10.10 entropy': 'a Client secret cannot be guessed: at least 160 random bits',

  // Bearer Token Usage, for the admin API
  '6750 §2.1 header': 'a token in the Authorization header is accepted',
  '6750 §2.3 query': 'a token in the query is not accepted',
  '6750 §3 challenge': 'a request without a token is 401 with a Bearer challenge',
  '6750 §3.1 no-error-code': 'a request without a token learns no error code',
  '6750 §3.1 invalid-token': 'a bad token is 401 invalid_token',
  '6750 §3.1 insufficient-scope': 'a token without rights is 403 insufficient_scope',

  // Assertion Framework, JWT Profile for Client Authentication, and JWT Best Current Practices
  '7521 §4.2 one-method': 'an assertion beside another way of authenticating is refused',
  '7521 §4.2 type': 'client_assertion_type has the value of the JWT profile, and no other is accepted',
  '7521 §4.2 client-id': 'client_id is optional, and identifies the client of the assertion',
  '7521 §4.2.1 error': 'an assertion that is not valid is invalid_client, and error_description may say why',
  '7523 §2.2 assertion': 'client_assertion has one JWT',
  '7523 §3 iss-sub': 'an assertion has iss and sub, and both are the client_id',
  '7523 §3 aud': 'an assertion for another audience is refused',
  '7523 §3 exp': 'an assertion without exp, or after it, is refused',
  '7523 §3 nbf': 'an assertion is refused before its nbf',
  '7523 §3 iat': 'an assertion with an iat that is unreasonably far in the past is refused',
  '7523 §3 jti': 'an assertion is accepted once',
  '7523 §3 signature': 'an assertion is signed, and one with an invalid signature is refused',
  '8725 §3.1 algorithm': 'the caller does not choose the algorithm: a key is used with one only',
  '8725 §3.2 none': 'an unsecured assertion is refused',
  '8725 §3.10 claims': 'kid, jku and x5u of an assertion lead nowhere',
  '8725 §3.11 typ': 'a JWT with the type of another kind is no assertion',
  '8725 §3.12 kinds': 'an access token is not accepted as an assertion',

  // JSON Web Key
  '7517 §4 members': 'each key has kty, use, alg and a kid of its own',
  '7517 §5 keys': 'a JWK Set has a member keys, an array',
  '7517 §9.2 private': 'a JWK Set has no private member of a key',

  // JSON Web Token
  '7519 §2 numeric-date': 'iat and exp are whole seconds since the epoch',
  '7519 §4.1.3 aud': 'an admin token for another audience is rejected',
  '7519 §4.1.4 exp': 'an admin token is rejected from its exp on',
  '7519 §4.1.5 nbf': 'an admin token is rejected before its nbf',
  '7519 §4.1.7 jti': 'no two tokens have the same jti',
  '7519 §6 unsecured': 'an unsecured admin token is rejected',

  // OAuth 2.0 Authorization Server Metadata
  '8414 §2 members': 'the metadata has issuer, token_endpoint, jwks_uri and response_types_supported',
  '8414 §2 issuer': 'the issuer is a URL without query and fragment',
  '8414 §2 methods': 'each way of authenticating that the metadata lists works',
  '8414 §2 revocation': 'the metadata has the revocation and introspection endpoints, with their methods',
  '8414 §3 get': 'the metadata is answered to GET at the well-known path, without authentication',
  '8414 §3.1 path': 'the path of an issuer follows the well-known path',
  '8414 §3.2 json': 'the metadata is application/json with status 200',
  '8414 §3.2 empty': 'no member of the metadata is an empty array, but the required response_types_supported',
  '8414 §3.3 identical': 'the issuer of the metadata is the one in tokens',

  // JWT Profile for OAuth 2.0 Access Tokens
  '9068 §2.1 typ': 'an access token has typ at+jwt and is signed',
  '9068 §2.1 rs256': 'RS256 is supported',
  '9068 §2.2 claims': 'an access token has iss, exp, aud, sub, client_id, iat and jti',
  '9068 §2.2.3 scope': 'an access token has the granted scope',
  '9068 §3 audience': 'an access token without a requested resource has the default audience',
  '9068 §3 resource': 'an access token for a requested resource has that resource as its only audience',
  '9068 §3 subset': 'a client cannot get a token for a resource that it is not registered for',
  '9068 §4 verifies': 'an access token verifies by the JWKS that the metadata names',
  '9068 §5 sub': 'sub is the client_id of a client that acts for itself',

  // Resource Indicators for OAuth 2.0
  '8707 §2 absolute': 'resource is an absolute URI without a fragment',
  '8707 §2 invalid-target': 'an unknown or malformed resource is invalid_target',
  '8707 §2 repeated': 'a request for more than one resource is invalid_target, because a token has one audience',
  '8707 §2.2 audience': 'the access token is for the requested resource',

  // Token Introspection
  '7662 §2 endpoint': 'the introspection endpoint of the metadata says whether a token is active',
  '7662 §2.1 post': 'an introspection request uses POST',
  '7662 §2.1 form': 'an introspection request is a form',
  '7662 §2.1 token': 'token is required',
  '7662 §2.1 hint': 'token_type_hint is optional, and a wrong one does not hide a token',
  '7662 §2.1 parameters': 'other parameters are accepted',
  '7662 §2.1 once': 'an introspection parameter that is sent twice is refused',
  '7662 §2.1 authorize': 'the introspection endpoint requires authorization',
  '7662 §2.1 methods': 'a caller authenticates by every method of the token endpoint',
  '7662 §2.2 json': 'an introspection response is a JSON object, as application/json',
  '7662 §2.2 active': 'an introspection response has active, a boolean',
  '7662 §2.2 scope': 'scope has the granted scopes, separated by spaces',
  '7662 §2.2 client-id': 'client_id is the client that requested the token',
  '7662 §2.2 token-type': 'token_type is that of the token response',
  '7662 §2.2 times': 'exp and iat are those of the token, whole seconds since the epoch',
  '7662 §2.2 sub': 'sub is the subject of the token',
  '7662 §2.2 aud': 'aud is the audience of the token',
  '7662 §2.2 iss': 'iss is the issuer of the token',
  '7662 §2.2 jti': 'jti is the id of the token',
  '7662 §2.2 extension': 'site is a member of grantd beside those of the RFC',
  '7662 §2.2 inactive': 'an inactive, unknown or foreign token is answered with active false and nothing else',
  '7662 §2.3 credentials': 'wrong credentials of the caller are 401 invalid_client',
  '7662 §2.3 not-allowed': 'a caller that may not introspect gets active false, not an error',
  '7662 §4 expired': 'an expired token is not active',
  '7662 §4 revoked': 'a token whose registration was disabled or deleted is not active',
  '7662 §4 signature': 'a token with another signature, or none, is not active',
  '7662 §4 resource-server': 'a token is active only for the resource servers of its Site',
  '7662 §4 query': 'a token in the query is refused, because it would get into logs',
  '7662 §4 caching': 'no introspection response may be stored',
  '7662 §5 privacy': 'a foreign token is answered like one that does not exist',

  // Token Revocation
  '7009 §2 endpoint': 'the revocation endpoint of the metadata revokes access tokens',
  '7009 §2.1 post': 'a revocation request uses POST',
  '7009 §2.1 token': 'a revocation request has a token',
  '7009 §2.1 hint': 'a wrong token_type_hint does not influence the revocation',
  '7009 §2.1 authenticate': 'the client authenticates, or nothing is revoked',
  '7009 §2.1 own': 'a client cannot revoke a token of another client',
  '7009 §2.1 immediate': 'the revocation takes place immediately',
  '7009 §2.1 others': 'other tokens of the client stay active',
  '7009 §2.2 success': 'a revocation is answered with 200 without content',
  '7009 §2.2 invalid-token': 'an invalid token is answered with 200',
  '7009 §2.2 again': 'a revocation that is repeated is answered with 200',
  '7009 §2.2.1 errors': 'the errors are those of the token endpoint',
  '7009 §2.2.1 unavailable': '503 says that the token still exists, and when to try again',

  // HTTP Semantics
  '9110 §5.3 duplicates': 'a second Authorization header is refused',
  '9110 §6.6.1 date': 'an answer has a Date',
  '9110 §8.6 no-content': '204 has no content and no Content-Length',
  '9110 §9.3.2 head': 'HEAD answers as GET, without content',
  '9110 §10.1.1 expect': 'a request that expects 100-continue is answered',
  '9110 §10.2.2 location': '201 has a Location that leads to what was created',
  '9110 §11.1 scheme': 'the name of an authentication scheme is case-insensitive',
  '9110 §13.1.1 if-match': 'a stale If-Match is 412, and nothing changes',
  '9110 §13.1.1 any': 'If-Match: * holds for any version',
  '9110 §15.5.2 challenge': '401 of the token endpoint always has WWW-Authenticate',
  '9110 §15.5.5 not-found': 'an unknown path is 404',
  '9110 §15.5.6 allow': '405 lists the allowed methods in Allow',
  '9110 §15.5.16 media-type': 'a body of another media type is 415',
  '9112 §3.2 host': 'a request without Host, or with two, is 400',

  // OAuth 2.0 Demonstrating Proof of Possession
  '9449 §4.3 one-header': 'a request with more than one DPoP header is refused',
  '9449 §4.3 well-formed': 'a DPoP header that is not one well-formed JWT is refused',
  '9449 §4.3 claims': 'a proof without jti, htm, htu or iat is refused',
  '9449 §4.3 typ': 'a proof has typ dpop+jwt',
  '9449 §4.3 alg': 'a proof by none or by a symmetric algorithm is refused',
  '9449 §4.3 signature': 'a proof is signed by the key in its jwk',
  '9449 §4.3 private': 'a proof with a private key in its jwk is refused',
  '9449 §4.3 htm': 'a proof for another method is refused',
  '9449 §4.3 htu': 'a proof for another URL is refused, and query and fragment do not count',
  '9449 §4.3 iat': 'a proof that is old or of the future is refused',
  '9449 §5 token-type': 'a valid proof gives a token of type DPoP',
  '9449 §5 bearer': 'a request without a proof gets a bearer token',
  '9449 §5 error': 'a bad proof is 400 invalid_dpop_proof',
  '9449 §5.1 metadata': 'a proof by each algorithm that the metadata lists is accepted',
  '9449 §5.2 bound-only': 'a client that is registered for bound tokens gets no bearer token',
  '9449 §6.1 jkt': 'cnf.jkt of a token is the SHA-256 thumbprint of the key in the proof',
  '9449 §6.2 introspection': 'introspection of a bound token has its cnf and the type DPoP'
} as const

const NOT_BUILT: Record<string, string> = {}

export type ClauseId = keyof typeof BUILT

export const CLAUSES: readonly Clause[] = [
  ...Object.entries(BUILT).map(([id, requirement]) => ({ id, requirement, isBuilt: true })),
  ...Object.entries(NOT_BUILT).map(([id, requirement]) => ({ id, requirement, isBuilt: false }))
].sort((one, other) => one.id.localeCompare(other.id, 'en', { numeric: true }))

/** Returns the name of the test of a clause. */
export function nameOf(id: ClauseId): string {
  return `[RFC ${id}] ${BUILT[id]}`
}
