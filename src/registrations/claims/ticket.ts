import { createHash } from 'node:crypto'
import { createClientSecret, isWellFormedSecret } from '../../credentials/secret.ts'

/** Not CLIENT_SECRET_PREFIX: a ticket that is mistaken for a secret would be refused without a reason. */
const PREFIX = 'grantd_claim_'

/** Creates a claim ticket: 256 random bits with a prefix and a checksum, so that secret scanners find it. */
export function createTicket(): string {
  return createClientSecret(PREFIX)
}

/** Whether grantd can have created this text as a ticket. Junk is refused without a look-up. */
export function isWellFormedTicket(text: string): boolean {
  return text.startsWith(PREFIX) && isWellFormedSecret(text)
}

/** Returns what is stored of a ticket. It cannot be guessed, so that its SHA-256 reveals nothing. */
export function digestOfTicket(ticket: string): Buffer {
  return createHash('sha256').update(ticket).digest()
}
