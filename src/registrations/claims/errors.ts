import { INVALID_TOKEN, unauthorized } from '../../admin-api/bearer.ts'
import { Problem } from '../../http/problem.ts'

/** Makes one and the same 401 for every ticket that gives no right. @param reason for the log only */
export function invalidTicket(reason: 'malformed_ticket' | 'unknown_ticket'): Problem {
  const detail = 'The claim ticket is not valid. It may have expired, or a newer one was made.'
  return unauthorized(reason, detail, INVALID_TOKEN)
}

export function claimed(): Problem {
  return new Problem(
    410,
    'claimed',
    'The claim ticket was used before. If that was not you, tell the administrator of the registration at once.'
  )
}

export function notUsableNow(code: 'disabled' | 'expired'): Problem {
  const state = code === 'disabled' ? 'is disabled' : 'has expired'
  return new Problem(
    409,
    code,
    `The registration ${state}. The ticket stays valid: ask the administrator, and claim again.`
  )
}
