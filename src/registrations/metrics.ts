import type { Kysely } from 'kysely'
import type { Database } from '../database/schema.ts'
import { cachedCount } from '../metrics/cached-count.ts'
import type { Registry } from '../metrics/registry.ts'
import { REGISTRATION_STATES } from './lifecycle.ts'
import { countByState } from './repository.ts'

/** Measures the registrations of all Sites. @param now milliseconds since the epoch */
export function measureRegistrations(registry: Registry, db: Kysely<Database>, now: () => number): void {
  const latest = cachedCount(registry, () => countByState(db, now()))
  for (const state of REGISTRATION_STATES) {
    registry.reading(
      { name: 'grantd_registrations', help: 'Registrations by state, enabled or not.', across: 'max' },
      () => latest()?.[state],
      { state }
    )
  }
}
