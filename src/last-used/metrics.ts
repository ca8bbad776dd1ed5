import type { Registry } from '../metrics/registry.ts'
import type { LastUsedWatch } from './use-recorder.ts'

/** Measures writes of Last used. @returns callbacks for the plugin */
export function measureLastUsed(registry: Registry): LastUsedWatch {
  const failed = registry.counter(
    'grantd_last_used_write_failures_total',
    'Writes of Last used that failed and were retried.'
  )
  return {
    failed: () => failed.increment(),
    waiting: count =>
      registry.reading(
        {
          name: 'grantd_last_used_waiting',
          help: 'Uses that wait to be written to Postgres. Uses of one client in one batch count as one.'
        },
        count
      )
  }
}
