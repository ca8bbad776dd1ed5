import type { FastifyRequest } from 'fastify'
import type { Kysely } from 'kysely'
import { Type } from 'typebox'
import type { Database } from '../database/schema.ts'

/** Path of the admin API. */
export const ADMIN_PREFIX = '/v1'

/** A Site is a tenant. The admin UI chooses its id, and grantd has no table of Sites. */
export const SITE_ID_PATTERN = '^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$'

/** Returns whether this text can be the id of a Site. */
export function isSiteId(text: string): boolean {
  return SITE_ID.test(text)
}

const SITE_ID = new RegExp(SITE_ID_PATTERN)

/** The schema of a parameter that is the id of a Site. */
export const siteIdPattern = {
  pattern: SITE_ID_PATTERN,
  'x-fault': 'must be the id of a Site: 1 to 64 letters, digits and ".", "_", "-", with a letter or digit at the start'
}
export const siteId = Type.String({ pattern: SITE_ID_PATTERN, description: 'Id of the Site', examples: ['acme'] })

export const SiteParams = Type.Object({ siteId })

/** The Site of a request, with the database as that Site sees it. */
export interface Site {
  siteId: string
  /** Row-level security hides the rows of every other Site. */
  db: Kysely<Database>
}

/** The Sites whose rows a listing reads. All Sites when `siteId` is undefined. */
export interface Sites {
  siteId: string | undefined
  db: Kysely<Database>
}

declare module 'fastify' {
  interface FastifyRequest {
    /** The Sites that this request of the admin API reads or changes. */
    sites: Sites | undefined
  }
}

/** Returns the Site in the path of this request, which its administrator is known to administer. */
export function siteOf(request: FastifyRequest): Site {
  const { siteId, db } = sitesOf(request)
  if (siteId === undefined) throw new Error('this request is not about one Site')
  return { siteId, db }
}

/** Returns the Sites that a listing reads: the Site in the path, or all Sites of a Global Administrator. */
export function sitesOf({ sites }: FastifyRequest): Sites {
  if (sites === undefined) throw new Error('this request is not about Sites')
  return sites
}

/** Returns the path of a resource of this Site, for its Location header. */
export function pathInSite({ siteId }: Site, path: `/${string}`): string {
  return `${ADMIN_PREFIX}/sites/${siteId}${path}`
}
