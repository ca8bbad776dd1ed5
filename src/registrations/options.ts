import { FairSemaphore } from '../concurrency/fair-semaphore.ts'
import { measureArgon2 } from '../credentials/metrics.ts'
import type { Sealing } from '../crypto/key-encryption.ts'
import type { Registry } from '../metrics/registry.ts'
import type { RegistrationRoutesOptions } from './routes.ts'

interface RegistrationSettings
  extends Pick<
    RegistrationRoutesOptions,
    | 'secretPrefix'
    | 'maxLifetimeDays'
    | 'maxPerSite'
    | 'scopesSupported'
    | 'maxTokenLifetimeSeconds'
    | 'federatedIssuers'
    | 'macKeys'
    | 'recordsUse'
    | 'onChanged'
    | 'now'
  > {
  sealing: Sealing
  metrics: Registry
}

/**
 * A hash takes a core for about 10 ms, so one at a time leaves room for tokens. A caller at the end of a full queue waits
 * for a quarter of a second when its Site is the only one that is busy.
 */
const HASHING = { permits: 1, maxWaitingPerKey: 25, maxWaiting: 500 }

/** Builds what the routes of registrations share: the queue of hashing and the keys derived from KEY_ENCRYPTION_KEY. */
export function registrationOptions({
  sealing,
  metrics,
  ...settings
}: RegistrationSettings): RegistrationRoutesOptions {
  const hashing = new FairSemaphore(HASHING)
  measureArgon2(metrics, hashing, 'admin')
  return {
    ...settings,
    hashing,
    cursorKeys: sealing.keys('listing cursors'),
    retryPeppers: sealing.keys('idempotent answers')
  }
}
