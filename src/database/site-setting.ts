/** Setting by which the policies of migrations/0001_schema.sql decide: id of a Site, or ALL_SITES. */
export const SITE_SETTING = 'grantd.site_id'

/** Not the id of any Site. */
export const ALL_SITES = '*'

/** For the session of a connection that serves all Sites. */
export const ALL_SITES_VISIBLE = `${SITE_SETTING} = '${ALL_SITES}'`
