const MAX_NAME_BYTES = 63
const SUFFIX = '_serving'

/**
 * Returns the name of the role that holds the rights of serving in a database: `grantd_serving` in a database `grantd`.
 *
 * Roles belong to the whole cluster. Each database has its own, so that two installations on one cluster, such as
 * staging and production, do not share rights.
 */
export function servingRole(database: string): string {
  const name = `${database}${SUFFIX}`
  // Postgres would cut it short, and the names of two databases could end up the same.
  if (Buffer.byteLength(name) > MAX_NAME_BYTES) {
    throw new Error(`the name of the database "${database}" has more than ${MAX_NAME_BYTES - SUFFIX.length} bytes`)
  }
  return name
}
