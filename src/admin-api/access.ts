/** Rules on which Sites an administrator may act. */

/** The Sites that a caller administers. `all` is a Global Administrator. */
export type AdministeredSites = 'all' | ReadonlySet<string>

/**
 * Reads the claim that lists Sites: an array of strings, or one string of ids that are separated by single spaces. `*`
 * makes a Global Administrator. A claim of another type gives no rights.
 */
export function readAdministeredSites(claim: unknown): AdministeredSites {
  const items: unknown[] = Array.isArray(claim) ? claim : typeof claim === 'string' ? splitList(claim) : []
  const sites = items.filter(item => typeof item === 'string').filter(site => site !== '')
  return sites.includes('*') ? 'all' : new Set(sites)
}

/** Text in another form than that of a scope (RFC 6749 §3.3) stays whole, and no Site has such an id. */
function splitList(text: string): string[] {
  return /^[^ ]+( [^ ]+)*$/.test(text) ? text.split(' ') : [text]
}

/**
 * Returns the claim of this name. It is a top-level claim of exactly this name, or else a nested one: names are separated
 * by dots (`realm_access.roles`) or form a JSON pointer (`/realm_access/roles`, RFC 6901).
 */
export function findClaim(claims: object, name: string): unknown {
  return Object.hasOwn(claims, name) ? memberOf(claims, name) : pathTo(name).reduce<unknown>(memberOf, claims)
}

function pathTo(name: string): string[] {
  if (!name.startsWith('/')) return name.split('.')
  const tokens = name.slice(1).split('/')
  return tokens.map(token => token.replaceAll('~1', '/').replaceAll('~0', '~'))
}

function memberOf(value: unknown, name: string): unknown {
  if (typeof value !== 'object' || value === null || !Object.hasOwn(value, name)) return undefined
  return Object.entries(value).find(([member]) => member === name)?.[1]
}

export function administersAnything(sites: AdministeredSites): boolean {
  return sites === 'all' || sites.size > 0
}

export function mayAdminister(sites: AdministeredSites, siteId: string): boolean {
  return sites === 'all' || sites.has(siteId)
}
