import { Type } from 'typebox'

/** A Site: a tenant, named by an opaque id that the admin UI gives. grantd keeps no table of them. */
export const SITE_ID_PATTERN = '^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$'

export const siteId = Type.String({ pattern: SITE_ID_PATTERN, description: 'Id of the Site', examples: ['acme'] })

export const SiteParams = Type.Object({ siteId })
