/** The entity tag of a registration: moves with every change by an administrator, not with time or use. */
export function etag(version: number): string {
  return `"${version}"`
}

/**
 * Does the `If-Match` header allow a change of this version? Strong comparison: a weak tag never matches
 * (RFC 9110 §13.1.1), nor does a malformed one.
 *
 * @param ifMatch the header's value; undefined allows every change
 */
export function allowsVersion(ifMatch: string | undefined, version: number): boolean {
  if (ifMatch === undefined || ifMatch.trim() === '*') return true
  return ifMatch.split(',').some(tag => tag.trim() === etag(version))
}
