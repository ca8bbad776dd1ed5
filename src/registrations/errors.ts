import { Problem } from '../http/problem.ts'

export function idempotencyKeyReused(): Problem {
  return new Problem(
    422,
    'idempotency_key_reused',
    'This Idempotency-Key was used for another request. Use a new key for each new request.'
  )
}

export function tooBusy(): Problem {
  return new Problem(503, 'unavailable', 'Too many Client secrets are being created now. Try again.', {
    headers: { 'retry-after': '1' }
  })
}

/** The answer reaches no caller. Its reason is in the log line of the request. */
export function hungUp(): Problem {
  return new Problem(503, 'unavailable', 'The caller closed the connection.', { reason: 'hung_up' })
}

export function rotationUnderWay(): Problem {
  return new Problem(
    409,
    'rotation_under_way',
    'Both credentials are in use. Wait until the previous one expires, or retire it first.'
  )
}

export function sameCredential(): Problem {
  return new Problem(
    409,
    'same_credential',
    'The registration has this credential already. Send another key or subject, or neither for a Client secret.'
  )
}
