import { Problem } from '../../http/problem.ts'

export function quotaExceeded(maxPerSite: number): Problem {
  return new Problem(
    409,
    'quota_exceeded',
    `This Site has ${maxPerSite} notice receivers, its limit; delete one first.`
  )
}

export function notAWebhook(): Problem {
  return new Problem(409, 'not_a_webhook', 'Only a webhook has a signing secret.')
}

export function tooBusy(): Problem {
  return new Problem(503, 'unavailable', 'Too many tests are under way; try again.', {
    headers: { 'retry-after': '1' }
  })
}
