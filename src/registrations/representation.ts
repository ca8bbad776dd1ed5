import { expiresInDays, previousSecretOf, registrationState, secretUses } from './lifecycle.ts'
import type { Registration } from './repository.ts'
import type { RegistrationBody } from './schemas.ts'

/** A registration as the admin API tells it, at this instant (milliseconds since the epoch). */
export function representRegistration(row: Registration, now: number): RegistrationBody {
  const expiresAt = row.expires_at.getTime()
  return {
    clientId: row.client_id,
    name: row.name,
    expiresAt: row.expires_at.toISOString(),
    enabled: row.enabled,
    scopes: row.scopes,
    registeredAt: row.registered_at.toISOString(),
    lastUsedAt: row.last_used_at?.toISOString() ?? null,
    secretCreatedAt: row.secret_created_at.toISOString(),
    secretLastUsedAt: secretUses(row).current?.toISOString() ?? null,
    previousSecret: representPrevious(row, now),
    expiresInDays: expiresInDays(expiresAt, now),
    state: registrationState(expiresAt, now)
  }
}

function representPrevious(row: Registration, now: number): RegistrationBody['previousSecret'] {
  const previous = previousSecretOf(row, now)
  if (previous === undefined) return null
  return {
    createdAt: previous.createdAt.toISOString(),
    expiresAt: previous.expiresAt.toISOString(),
    lastUsedAt: previous.lastUsedAt?.toISOString() ?? null
  }
}
