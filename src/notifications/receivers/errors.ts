import { Problem } from '../../http/problem.ts'

export function notAWebhook(): Problem {
  return new Problem(409, 'not_a_webhook', 'Only a webhook has a signing secret.')
}

export function tooBusy(): Problem {
  return new Problem(503, 'unavailable', 'Too many tests are under way; try again.', {
    headers: { 'retry-after': '1' }
  })
}
