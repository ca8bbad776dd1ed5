/**
 * Limits on claims and reports together. Each takes a connection of background work for a moment, so that strangers hold up
 * neither tokens nor administrators.
 */
export const PUBLIC_REQUESTS = { permits: 2, maxWaiting: 100, maxWaitMs: 2_000 }

export const TOO_MANY_PUBLIC_REQUESTS = {
  detail: 'Too many requests of this kind are being answered now. Try again.',
  reason: 'public_requests_overloaded'
}
