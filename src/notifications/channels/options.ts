import { AddressGuard, type AllowedTargets } from './address-guard.ts'
import { WEBHOOK_TIMEOUT_MS } from './guarded-post.ts'
import { createResolve, type Resolve } from './resolve.ts'
import type { SenderNeeds } from './sender.ts'

interface ChannelSettings extends Pick<SenderNeeds, 'mail' | 'now'> {
  /** Targets that webhooks may reach although they are not public. */
  allowed: AllowedTargets
  /** Finds the addresses of a webhook's host. By default, DNS does. */
  resolve?: Resolve | undefined
}

/** Builds what sending by webhook and by mail needs. */
export function channelOptions({ allowed, resolve, mail, now }: ChannelSettings): SenderNeeds {
  const guard = new AddressGuard(allowed)
  return { guard, resolve: resolve ?? createResolve(guard), timeoutMs: WEBHOOK_TIMEOUT_MS, mail, now }
}
