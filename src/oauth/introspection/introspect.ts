import { DatabaseUnavailable } from '../../database/errors.ts'
import type { ClientRow } from '../../registrations/clients/repository.ts'
import { beginAttempt, type ClientAuthenticationOptions } from '../client-authentication/attempt.ts'
import { isEligible } from '../client-authentication/authenticate.ts'
import { authenticateNow } from '../client-authentication/authenticate-now.ts'
import type { CredentialProof, MatchedClient } from '../client-authentication/credential-proof.ts'
import type { MissingDigests } from '../client-authentication/missing-digests.ts'
import type { IssuedToken } from '../issued-tokens/issued-token.ts'
import type { IssuedTokenRequest } from '../issued-tokens/request.ts'
import { findInactivity, type Inactivity, type Standing } from '../issued-tokens/standing.ts'
import type { Standings } from '../issued-tokens/standings.ts'
import type { Reach, VerifiedTokens } from '../issued-tokens/verified-tokens.ts'
import { temporarilyUnavailable } from '../oauth-error.ts'
import type { ClientCache } from '../token/cache/client-cache.ts'

export interface IntrospectionOptions extends ClientAuthenticationOptions {
  cache: ClientCache
  standings: Standings
  verifiedTokens: VerifiedTokens
  missingDigests: MissingDigests
  /** Sites whose registrations may introspect tokens of every Site. */
  introspectionSites: readonly string[]
}

/** An active token, or why there is none. The reason is for the log: every caller gets the same answer. */
export type Introspection = { token: IssuedToken } | { inactivity: Inactivity | 'not_allowed' | 'unknown_token' }

/**
 * Introspects a token (RFC 7662). It is active when grantd has issued it, it has not expired, and its registration has it
 * now: enabled, not expired, without a cut-off after the token, and without a revocation of it.
 *
 * Nothing is written, and no answer comes from a cache. For a caller whose row is cached, one statement reads what became
 * of both registrations, its own and that of the token. What a caller may not ask about takes as long as what does not
 * exist: one signature is verified, and only the row of the caller is read.
 *
 * @param source address that the request came from
 * @throws OAuthError `invalid_client`, 401; 429; 503 while the database is unavailable
 */
export async function introspect(
  options: IntrospectionOptions,
  { client, token }: IssuedTokenRequest,
  source: string
): Promise<Introspection> {
  const { cache, standings } = options
  const attempt = await beginAttempt(options, client, source)
  const { proof } = attempt
  const cached = proof.match(cache.find(client.clientId))
  try {
    const answer = cached && (await introspectAsCached(options, cached, proof, token))
    if (answer !== undefined) return answer
    const authenticated = await authenticateNow(options, attempt)
    const { row } = authenticated
    cache.keep(row)
    options.missingDigests.note(authenticated, client.credential)
    const issued = await findIssued(options, row, token)
    if ('inactivity' in issued) return issued
    const [standing] = await standings.find(issued.token.clientId)
    return judge(issued, standing)
  } catch (error) {
    throw error instanceof DatabaseUnavailable ? temporarilyUnavailable('database_unavailable') : error
  }
}

/** Introspects for a caller whose row is cached. Returns undefined when that row does not suffice or has changed. */
async function introspectAsCached(
  options: IntrospectionOptions,
  matched: MatchedClient,
  proof: CredentialProof,
  text: string
): Promise<Introspection | undefined> {
  const { lookup, standings, now } = options
  const { row } = matched
  const at = now()
  if (!isEligible(matched, at) || proof.findFault?.(at) !== undefined) return undefined
  if (proof.use !== undefined) await proof.use()
  const issued = await findIssued(options, row, text)
  const asked = 'token' in issued ? [issued.token.clientId] : []
  const [own, standing] = await standings.find(row.client_id, ...asked)
  lookup.noteAnswer()
  if (own?.version !== row.version) return undefined
  return 'token' in issued ? judge(issued, standing) : issued
}

/** Finds the token among those that the caller may ask about. The registration of the token is not looked at yet. */
async function findIssued(options: IntrospectionOptions, caller: ClientRow, text: string): Promise<Introspection> {
  const { verifiedTokens, introspectionSites } = options
  // The same for every token, so that it is no oracle, and a flood costs no signature.
  if (!caller.may_introspect) return { inactivity: 'not_allowed' }
  const { site_id: siteId } = caller
  const reach: Reach = introspectionSites.includes(siteId) ? 'every token' : { siteId }
  try {
    const token = await verifiedTokens.find(text, reach)
    return token === undefined ? { inactivity: 'unknown_token' } : { token }
  } catch (error) {
    throw error instanceof DatabaseUnavailable ? temporarilyUnavailable('signing_key_unavailable') : error
  }
}

function judge({ token }: { token: IssuedToken }, standing: Standing | undefined): Introspection {
  const inactivity = findInactivity(token, standing)
  return inactivity === undefined ? { token } : { inactivity }
}
