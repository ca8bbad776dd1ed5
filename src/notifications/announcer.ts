import { randomUUID } from 'node:crypto'
import type { Announcer } from '../registrations/announcement.ts'
import type { Outbox } from './outbox/outbox.ts'
import { insertDeliveries, insertNotice } from './repository.ts'

interface AnnouncerOptions {
  /** Kinds of the receivers that the configuration names. */
  serviceKinds: readonly string[]
  outbox: Pick<Outbox, 'pumpInBackground'>
}

/** Makes notices of what happens to registrations, beside the expiry cadence. */
export function createAnnouncer({ serviceKinds, outbox }: AnnouncerOptions): Announcer {
  return {
    record: async (trx, registration, { type, at, details }) => {
      const id = randomUUID()
      const now = new Date(at)
      const { site_id, client_id, name, enabled, expires_at } = registration
      await insertNotice(trx, { id, site_id, client_id, name, enabled, expires_at, type, details, fired_at: now })
      await insertDeliveries(trx, [id], { now, serviceKinds })
    },
    deliver: () => outbox.pumpInBackground()
  }
}
