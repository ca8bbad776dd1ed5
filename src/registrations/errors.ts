import { Problem } from '../http/problem.ts'

export function quotaExceeded(maxPerSite: number): Problem {
  return new Problem(409, 'quota_exceeded', `This Site has ${maxPerSite} registrations, its limit; delete one first.`)
}

export function idempotencyKeyReused(): Problem {
  return new Problem(422, 'idempotency_key_reused', 'This Idempotency-Key was used with another body; take a new one.')
}

export function staleVersion(): Problem {
  return new Problem(412, 'precondition_failed', 'The registration was changed meanwhile; read it again.')
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
