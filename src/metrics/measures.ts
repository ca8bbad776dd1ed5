import type { Kysely } from 'kysely'
import type { Semaphore } from '../concurrency/semaphore.ts'
import type { Database } from '../database/schema.ts'
import type { LastUsedWatch } from '../last-used/plugin.ts'
import { countDeadDeliveries } from '../notifications/repository.ts'
import type { CredentialsWatch } from '../oauth/token/cache/credentials.ts'
import type { FailureBrake } from '../oauth/token/cache/failure-brake.ts'
import { REGISTRATION_STATES } from '../registrations/lifecycle.ts'
import { countByState } from '../registrations/repository.ts'
import type { TendedKeySet } from '../signing-keys/key-set.ts'
import type { Registry } from './registry.ts'

export function measureHashGate(registry: Registry, gate: Semaphore, name: 'token' | 'admin'): void {
  const labels = { gate: name }
  registry.reading(
    { name: 'grantd_argon2_running', help: 'Argon2 hashes being computed.' },
    () => gate.load.running,
    labels
  )
  registry.reading({ name: 'grantd_argon2_waiting', help: 'Argon2 hashes that wait.' }, () => gate.load.waiting, labels)
  registry.reading(
    { name: 'grantd_argon2_shed_total', help: 'Argon2 hashes refused because too many waited.', type: 'counter' },
    () => gate.load.rejected,
    labels
  )
}

export function measureFailureBrake(registry: Registry, brake: FailureBrake): void {
  registry.reading(
    { name: 'grantd_failure_brake_entries', help: 'Pairs of source and client that failed and are remembered.' },
    () => brake.size
  )
}

/** @returns to be called when a lane of the database goes up or down */
export function measureLanes(registry: Registry): (lane: string, isUp: boolean) => void {
  const lanes = new Map([
    ['lookups', 0],
    ['last uses', 0]
  ])
  for (const lane of lanes.keys()) {
    registry.reading(
      { name: 'grantd_database_lanes_up', help: 'Connections for look-ups and for Last used; one of each a process.' },
      () => lanes.get(lane),
      { lane }
    )
  }
  return (lane, isUp) => lanes.set(lane, isUp ? 1 : 0)
}

/** What the log is to it; Fastify's has these. */
interface ChangeLog {
  warn: (message: string) => void
  info: (message: string) => void
}

export function watchCredentials(registry: Registry, log: ChangeLog): CredentialsWatch {
  let isAway = false
  registry.reading(
    { name: 'grantd_database_away', help: 'Processes whose latest look-up of a client got no answer.' },
    () => (isAway ? 1 : 0)
  )
  const servedStale = registry.counter(
    'grantd_stale_credentials_served_total',
    'Look-ups that memory answered because the database did not.'
  )
  return {
    awayChanged: isAwayNow => {
      isAway = isAwayNow
      if (isAway) log.warn('the database is away: clients are served by what was last read of them')
      else log.info('the database answers again: every exchange reads it')
    },
    servedStale: () => servedStale.increment()
  }
}

export function watchLastUsed(registry: Registry): LastUsedWatch {
  const failed = registry.counter('grantd_last_used_write_failures_total', 'Writes of Last used to be tried again.')
  return {
    failed: () => failed.increment(),
    waiting: count =>
      registry.reading({ name: 'grantd_last_used_waiting', help: 'Clients whose Last used is not yet written.' }, count)
  }
}

/** Deliveries of notices. @returns to be called with what became of each try */
export function countDeliveries(registry: Registry): (outcome: 'delivered' | 'failed' | 'dead') => void {
  const counterOf = (outcome: string) =>
    registry.counter(
      'grantd_notice_deliveries_total',
      'Tries to deliver a notice by outcome; dead is the last that failed.',
      { outcome }
    )
  const counters = { delivered: counterOf('delivered'), failed: counterOf('failed'), dead: counterOf('dead') }
  return outcome => counters[outcome].increment()
}

export function measureSigningKey(registry: Registry, keySet: Pick<TendedKeySet, 'activeTimes'>): void {
  const reading = (name: string, help: string, instant: () => number | undefined) =>
    registry.reading({ name, help, across: 'max' }, () => {
      const at = instant()
      return at === undefined ? undefined : at / 1_000
    })
  reading(
    'grantd_signing_key_signs_from_timestamp_seconds',
    'Since when the key that signs may sign.',
    () => keySet.activeTimes?.signsFrom
  )
  reading(
    'grantd_signing_key_signs_until_timestamp_seconds',
    'Until when it signs at the latest, where it has a successor.',
    () => keySet.activeTimes?.signsUntil
  )
}

/** Registrations over all Sites. @param now milliseconds since the epoch */
export function measureRegistrations(registry: Registry, db: Kysely<Database>, now: () => number): void {
  const latest = keepCount(registry, () => countByState(db, now()))
  for (const state of REGISTRATION_STATES) {
    registry.reading(
      { name: 'grantd_registrations', help: 'Registrations by state, enabled or not.', across: 'max' },
      () => latest()?.[state],
      { state }
    )
  }
}

/** Notices over all Sites that were given up on and can be sent again. */
export function measureDeadDeliveries(registry: Registry, db: Kysely<Database>): void {
  const latest = keepCount(registry, () => countDeadDeliveries(db))
  registry.reading(
    {
      name: 'grantd_notice_deliveries_dead',
      help: 'Deliveries of notices that were given up on and can be sent again.',
      across: 'max'
    },
    latest
  )
}

/** How old a count may be: counting reads an entry of an index for each. */
const COUNT_KEPT_MS = 15_000
/** How long a reading waits for the database; it tells the latest count otherwise. */
const COUNT_WAIT_MS = 500

/** Counts anew before a reading, when the count is old. @returns the latest count; undefined before there is one */
function keepCount<Count>(registry: Registry, count: () => Promise<Count>): () => Count | undefined {
  let latest: Count | undefined
  let counting: Promise<void> | undefined
  let countedAt = Number.NEGATIVE_INFINITY
  const countAnew = async (): Promise<void> => {
    try {
      latest = await count()
      countedAt = performance.now()
    } catch {
      // The lanes tell that the database is away; a scrape has more to tell than this.
    } finally {
      counting = undefined
    }
  }
  registry.beforeReading(async () => {
    if (performance.now() - countedAt < COUNT_KEPT_MS) return
    counting ??= countAnew()
    const timeout = Promise.withResolvers<void>()
    const timer = setTimeout(timeout.resolve, COUNT_WAIT_MS)
    await Promise.race([counting, timeout.promise])
    clearTimeout(timer)
  })
  return () => latest
}
