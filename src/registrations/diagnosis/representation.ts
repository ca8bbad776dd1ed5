import type { Registration } from '../repository.ts'
import type { Refusal, Refusals } from './refusal.ts'
import type { DiagnosisBody } from './schemas.ts'

/**
 * Returns the diagnosis of a registration: what the token endpoint would decide now about the right credential, and which
 * requests it refused last.
 *
 * @param now milliseconds since the epoch
 */
export function representDiagnosis(row: Registration, refusals: Refusals, now: number): DiagnosisBody {
  const reasons = reasonsAgainst(row, now)
  return {
    wouldSucceed: reasons.length === 0,
    reasons,
    refusals: {
      withCredential: representRefusal(refusals.withCredential),
      withoutCredential: representRefusal(refusals.withoutCredential)
    }
  }
}

/** Each reason for which client-authentication/authenticate.ts refuses the right credential. */
function reasonsAgainst(row: Registration, now: number): DiagnosisBody['reasons'] {
  const { enabled, disabled_reason, unclaimed, expires_at } = row
  const reasons: DiagnosisBody['reasons'] = []
  if (unclaimed) {
    const detail = 'There is no working secret. Send a claim ticket, or rotate.'
    reasons.push({ code: 'unclaimed', detail, since: row.secret_created_at.toISOString() })
  }
  if (!enabled) {
    const cause = disabled_reason === null ? 'is disabled' : `was disabled by grantd (${disabled_reason})`
    const cure = unclaimed ? 'First rotate, then set `enabled` to true.' : 'Set `enabled` to true.'
    reasons.push({ code: 'disabled', detail: `The registration ${cause}. ${cure}` })
  }
  if (expires_at.getTime() <= now) {
    const since = expires_at.toISOString()
    reasons.push({ code: 'expired', detail: 'The registration has expired. Move `expiresAt` forward.', since })
  }
  return reasons
}

function representRefusal(refusal: Refusal | undefined): DiagnosisBody['refusals']['withCredential'] {
  return refusal === undefined ? null : { ...refusal, at: new Date(refusal.at).toISOString() }
}
