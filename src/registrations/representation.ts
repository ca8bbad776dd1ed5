import { expiresInDays, registrationState } from './lifecycle.ts'
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
    expiresInDays: expiresInDays(expiresAt, now),
    state: registrationState(expiresAt, now)
  }
}
