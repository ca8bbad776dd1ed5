import { Semaphore } from '../concurrency/semaphore.ts'
import { measureArgon2 } from '../credentials/metrics.ts'
import type { Sealing } from '../crypto/key-encryption.ts'
import type { Registry } from '../metrics/registry.ts'
import type { RegistrationRoutesOptions } from './routes.ts'

interface RegistrationSettings
  extends Pick<RegistrationRoutesOptions, 'secretPrefix' | 'maxLifetimeDays' | 'maxPerSite' | 'now'> {
  sealing: Sealing
  metrics: Registry
}

/** Administrators hash behind a queue of their own, so that a flood at the token endpoint does not stop them. */
const HASHING = { permits: 1, maxWaiting: 100 }

/** Builds what the routes of registrations share: the queue of hashing and the keys derived from KEY_ENCRYPTION_KEY. */
export function registrationOptions({
  sealing,
  metrics,
  ...settings
}: RegistrationSettings): RegistrationRoutesOptions {
  const hashing = new Semaphore(HASHING)
  measureArgon2(metrics, hashing, 'admin')
  return {
    ...settings,
    hashing,
    cursorKeys: sealing.keys('listing cursors'),
    retryPeppers: sealing.keys('idempotent answers')
  }
}
