import { instantOrNull } from '../admin-api/instant.ts'
import { credentialOf } from '../credentials/credential.ts'
import { credentialUses, describeCredential, previousCredentialOf } from './credentials.ts'
import { fieldsOf } from './fields.ts'
import { disabledReasonOf, expiresInDays, registrationState } from './lifecycle.ts'
import type { Registration } from './repository.ts'
import type { RegistrationBody } from './schemas.ts'

/** Returns a registration as the admin API answers it. @param now milliseconds since the epoch */
export function representRegistration(row: Registration, now: number): RegistrationBody {
  const expiresAt = row.expires_at.getTime()
  return {
    clientId: row.client_id,
    key: row.key,
    ...fieldsOf(row),
    registeredAt: row.registered_at.toISOString(),
    lastUsedAt: instantOrNull(row.last_used_at),
    exchangeCount: row.exchange_count,
    expiresInDays: expiresInDays(expiresAt, now),
    state: registrationState(expiresAt, now),
    disabledReason: disabledReasonOf(row),
    tokensValidFrom: instantOrNull(row.tokens_valid_from),
    unclaimed: row.unclaimed,
    credential: {
      ...describeCredential(credentialOf(row.credential)),
      createdAt: row.secret_created_at.toISOString(),
      lastUsedAt: instantOrNull(credentialUses(row).current)
    },
    previousCredential: representPrevious(row, now)
  }
}

function representPrevious(row: Registration, now: number): RegistrationBody['previousCredential'] {
  const previous = previousCredentialOf(row, now)
  if (previous === undefined) return null
  return {
    ...describeCredential(previous.credential),
    createdAt: previous.createdAt.toISOString(),
    lastUsedAt: instantOrNull(previous.lastUsedAt),
    expiresAt: previous.expiresAt.toISOString()
  }
}
