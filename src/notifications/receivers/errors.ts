import { Problem } from '../../http/problem.ts'

export function noSigningSecret(kind: string): Problem {
  return new Problem(409, 'no_signing_secret', `A receiver of kind ${kind} has no signing secret.`)
}

export function tooManyTests(): Problem {
  return new Problem(503, 'unavailable', 'Too many tests of this Site are running. Try again later.', {
    headers: { 'retry-after': '1' }
  })
}
