import { isCutOff } from '../../registrations/token-revocation/cut-off.ts'
import { SECOND_MS } from '../../time.ts'
import type { IssuedToken } from './issued-token.ts'

/** The part of a registration that decides about its tokens, as the database has it now. */
export interface Standing {
  client_id: string
  version: number
  enabled: boolean
  expires_at: Date
  /** Tokens that were issued before are not valid. Null without such a cut-off. */
  tokens_valid_from: Date | null
  /** `jti` of each token that was revoked by itself. */
  revoked: readonly string[]
  /** Time of the database when it was read. A revocation is dropped when its token has expired by this clock. */
  read_at: Date
}

/** Why a token is not active although grantd has issued it. For the log. */
export type Inactivity =
  | 'deleted_client'
  | 'disabled_client'
  | 'expired_client'
  | 'expired_token'
  | 'stopped_token'
  | 'revoked_token'

/**
 * Returns why a token is not active; undefined for an active one. Expiry is judged by the clock of the database, which is
 * the same for every instance, and which decides how long a revocation is kept.
 *
 * @param standing undefined when the registration does not exist
 */
export function findInactivity(
  { iat, exp, jti }: Pick<IssuedToken, 'iat' | 'exp' | 'jti'>,
  standing: Standing | undefined
): Inactivity | undefined {
  if (standing === undefined) return 'deleted_client'
  const { enabled, expires_at, revoked, read_at } = standing
  const now = read_at.getTime()
  if (!enabled) return 'disabled_client'
  if (expires_at.getTime() <= now) return 'expired_client'
  if (exp * SECOND_MS <= now) return 'expired_token'
  if (isCutOff(standing, iat * SECOND_MS)) return 'stopped_token'
  return revoked.includes(jti) ? 'revoked_token' : undefined
}
