/** The answer to a request for a new credential. */

import { addedFields } from './fields.ts'
import type { NewCredential } from './new-credential.ts'
import type { Registration } from './repository.ts'
import { representRegistration } from './representation.ts'
import type { CreatedRegistrationBody, RegistrationBody } from './schemas.ts'

/** How a caller asks for a new credential. */
export interface CredentialRequest {
  /** The `Idempotency-Key` header. */
  idempotencyKey: string | undefined
  /** Aborts when the caller hangs up. */
  signal: AbortSignal
}

/** The answer with a new credential. A retry gets it again, byte for byte. */
export interface CredentialAnswer {
  body: CreatedRegistrationBody
  /** Version of the registration in it. */
  version: number
}

/** Members of an answer that release 0.2.0 has. */
type FirstMembers = Pick<
  RegistrationBody,
  | ('clientId' | 'name' | 'expiresAt' | 'enabled' | 'scopes' | 'registeredAt' | 'lastUsedAt')
  | ('expiresInDays' | 'state' | 'credential' | 'previousCredential')
>

/** Members that came later, with their values in an answer that release 0.2.0 stored for a retry. A forgotten one is a type error. */
const addedMembers: Omit<RegistrationBody, keyof FirstMembers> = {
  key: null,
  ...addedFields,
  exchangeCount: 0,
  disabledReason: null,
  tokensValidFrom: null,
  unclaimed: false
}

/** Completes an answer that another release may have stored. */
export function completed({ body, version }: CredentialAnswer): CredentialAnswer {
  // The members that the body has keep their values and their order.
  return { body: { ...body, ...addedMembers, ...body }, version }
}

/** Returns the answer with a registration that has a new credential. @param at milliseconds since the epoch */
export function answerWith(credential: NewCredential, registration: Registration, at: number): CredentialAnswer {
  const { version } = registration
  const secret = credential.kind === 'secret' && { clientSecret: credential.clientSecret }
  return { body: { ...representRegistration(registration, at), ...secret }, version }
}
