import type { Credential } from '../../credentials/credential.ts'
import { Problem } from '../../http/problem.ts'

export function keyTaken(key: string): Problem {
  return new Problem(
    409,
    'key_taken',
    `The Site has another registration with the key ${key}. PUT …/keyed-app-registrations/${key} changes that one.`
  )
}

/** @param expiresAt of the registration */
export function wouldShorten(expiresAt: string): Problem {
  return new Problem(
    409,
    'would_shorten',
    `The registration expires at ${expiresAt}, later than the body says: somebody may have renewed it. Send this instant, or repeat the request with allowShorter=true.`
  )
}

/** @param reason why grantd has disabled it. Null when an administrator has */
export function wouldEnable(reason: string | null): Problem {
  return new Problem(
    409,
    'would_enable',
    `${reason === null ? 'The registration is disabled' : `grantd has disabled the registration (${reason})`}, and the body does not mention it. Send "enabled": false to keep it so, or "enabled": true to enable it.`
  )
}

export function credentialDiffers(clientId: string, current: Credential, declared: Credential): Problem {
  return new Problem(
    409,
    'credential_differs',
    `The registration has ${inWords(current)}, and the body says ${inWords(declared)}. A PUT never rotates. Rotate it by POST …/app-registrations/${clientId}/rotate-secret, or send the credential that it has.`
  )
}

function inWords(credential: Credential): string {
  if (credential.kind === 'secret') return 'a Client secret'
  if (credential.kind === 'key') return `the key ${credential.keyId} (${credential.alg})`
  return `the subject ${credential.subject} of ${credential.issuer}`
}
