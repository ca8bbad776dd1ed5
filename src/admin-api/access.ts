/** Whom a token lets act where. Pure. */

/** The Sites that a caller administers. `all` is a Global Administrator. */
export type AdministeredSites = 'all' | ReadonlySet<string>

/**
 * Reads the claim that lists Sites: a string or an array of strings; `*` makes a Global Administrator.
 * Anything else gives no rights.
 */
export function readAdministeredSites(claim: unknown): AdministeredSites {
  const items: unknown[] = Array.isArray(claim) ? claim : [claim]
  const sites = items.filter(item => typeof item === 'string').filter(site => site !== '')
  return sites.includes('*') ? 'all' : new Set(sites)
}

export function administersAnything(sites: AdministeredSites): boolean {
  return sites === 'all' || sites.size > 0
}

export function mayAdminister(sites: AdministeredSites, siteId: string): boolean {
  return sites === 'all' || sites.has(siteId)
}
