import type { SemaphoreLoad } from '../concurrency/semaphore.ts'
import type { Registry } from '../metrics/registry.ts'

/** Measures Argon2 work, which runs behind a semaphore. */
export function measureArgon2(
  registry: Registry,
  semaphore: { readonly load: SemaphoreLoad },
  gate: 'token' | 'admin'
): void {
  const labels = { gate }
  registry.reading(
    { name: 'grantd_argon2_running', help: 'Argon2 hashes being computed.' },
    () => semaphore.load.running,
    labels
  )
  registry.reading(
    { name: 'grantd_argon2_waiting', help: 'Argon2 hashes that wait for a place.' },
    () => semaphore.load.waiting,
    labels
  )
  registry.reading(
    { name: 'grantd_argon2_total', help: 'Argon2 hashes that were begun.', type: 'counter' },
    () => semaphore.load.admitted,
    labels
  )
  registry.reading(
    {
      name: 'grantd_argon2_rejected_total',
      help: 'Argon2 hashes that were rejected because too many were waiting.',
      type: 'counter'
    },
    () => semaphore.load.rejected,
    labels
  )
}
