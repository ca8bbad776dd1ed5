import type { Kysely } from 'kysely'
import type { Database } from '../database/schema.ts'
import { cachedCount } from '../metrics/cached-count.ts'
import type { Registry } from '../metrics/registry.ts'
import { countDeadDeliveries } from './repository.ts'

/** Measures attempts to deliver notices. @returns a callback for the outcome of each attempt */
export function measureDeliveries(registry: Registry): (outcome: 'delivered' | 'failed' | 'dead') => void {
  const counterOf = (outcome: string) =>
    registry.counter(
      'grantd_notice_deliveries_total',
      'Attempts to deliver a notice, by outcome. `dead` is the last attempt that failed.',
      { outcome }
    )
  const counters = { delivered: counterOf('delivered'), failed: counterOf('failed'), dead: counterOf('dead') }
  return outcome => counters[outcome].increment()
}

/** Measures the deliveries of all Sites that were given up and can be retried by hand. */
export function measureDeadDeliveries(registry: Registry, db: Kysely<Database>): void {
  registry.reading(
    {
      name: 'grantd_notice_deliveries_dead',
      help: 'Deliveries of notices that were given up and can be retried.',
      across: 'max'
    },
    cachedCount(registry, () => countDeadDeliveries(db))
  )
}
