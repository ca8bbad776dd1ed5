import { Problem } from '../http/problem.ts'

export function idempotencyKeyReused(): Problem {
  return new Problem(422, 'idempotency_key_reused', 'This Idempotency-Key was used with another body; take a new one.')
}

export function tooBusy(): Problem {
  return new Problem(503, 'unavailable', 'The service cannot do this now; try again.', {
    headers: { 'retry-after': '1' }
  })
}

export function rotationUnderWay(): Problem {
  return new Problem(
    409,
    'rotation_under_way',
    'Both secrets are in use: wait until the previous one expires, or retire it first.'
  )
}
