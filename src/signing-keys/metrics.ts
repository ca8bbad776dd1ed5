import type { Registry } from '../metrics/registry.ts'
import type { RotatingKeySet } from './key-set.ts'

/** Measures the period in which the current signing key signs. */
export function measureSigningKey(registry: Registry, keySet: Pick<RotatingKeySet, 'activeTimes'>): void {
  const reading = (name: string, help: string, instant: () => number | undefined) =>
    registry.reading({ name, help, across: 'max' }, () => {
      const at = instant()
      return at === undefined ? undefined : at / 1_000
    })
  reading(
    'grantd_signing_key_signs_from_timestamp_seconds',
    'Instant since when the current signing key may sign.',
    () => keySet.activeTimes?.signsFrom
  )
  reading(
    'grantd_signing_key_signs_until_timestamp_seconds',
    'Instant until when the current signing key signs at the latest, once it has a successor.',
    () => keySet.activeTimes?.signsUntil
  )
  reading(
    'grantd_signing_key_successor_due_timestamp_seconds',
    'Instant at which the next signing key should begin to sign. Absent when KEY_ROTATION_DAYS is 0.',
    () => keySet.activeTimes?.successorFrom
  )
}
