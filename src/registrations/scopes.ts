import type { Fault } from '../http/problem.ts'

/** A detail that lists more than this many scopes would be hard to read. */
const MAX_LISTED = 20

/** Returns each scope that the catalogue does not have. @param catalogue SCOPES_SUPPORTED; undefined for any scope */
export function scopeFaults(scopes: readonly string[], catalogue: readonly string[] | undefined): Fault[] {
  if (catalogue === undefined) return []
  const more = catalogue.length - MAX_LISTED
  const listed = catalogue.slice(0, MAX_LISTED).join(', ') + (more > 0 ? ` and ${more} more` : '')
  return scopes.flatMap((scope, index) =>
    catalogue.includes(scope)
      ? []
      : [
          {
            pointer: `/scopes/${index}`,
            code: 'unsupported_scope',
            detail: `must be one of the scopes of this service: ${listed}`
          }
        ]
  )
}
