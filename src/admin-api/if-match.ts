import { Type } from 'typebox'
import { Problem } from '../http/problem.ts'

/** Returns the entity tag of a version. A change by an administrator moves it; time and use do not. */
export function etag(version: number): string {
  return `"${version}"`
}

/** Header of an answer that has an entity tag. */
export const etagHeader = { ETag: { type: 'string', description: 'Version of the registration, for If-Match' } }

export const IfMatch = Type.Object({
  'if-match': Type.Optional(
    Type.String({
      description: 'ETag of the version that is to be changed. Without this header, any version is changed.'
    })
  )
})

export const IfNoneMatch = Type.Object({
  'if-none-match': Type.Optional(
    Type.String({
      pattern: '^\\*$',
      'x-fault': 'must be *',
      description: 'With `*`, the request creates or does nothing: 412 when the resource exists.',
      examples: ['*']
    })
  )
})

/**
 * Checks that the `If-Match` header allows a change of this version (RFC 9110 §13.1.1). A weak tag matches too: a proxy
 * that compresses answers weakens our tags on the way out, and a version number means the same in either form.
 *
 * @param ifMatch the header's value. Undefined allows every version
 * @throws Problem 412
 */
export function requireVersion(ifMatch: string | undefined, version: number | undefined): void {
  if (ifMatch === undefined || version === undefined || allowsVersion(ifMatch, version)) return
  throw new Problem(
    412,
    'precondition_failed',
    'If-Match names another version. Somebody may have changed the resource: read it again.'
  )
}

/**
 * Checks that the conditions of a request allow it to create a resource, or to change the one that exists (RFC 9110 §13.1.1,
 * §13.1.2).
 *
 * @param conditions the headers' values
 * @param version of the resource, undefined when it does not exist
 * @throws Problem 412
 */
export function requireConditions({ ifMatch, ifNoneMatch }: Conditions, version: number | undefined): void {
  if (version === undefined) {
    if (ifMatch === undefined) return
    throw new Problem(412, 'precondition_failed', 'If-Match names a version, and the resource does not exist.')
  }
  if (ifNoneMatch !== undefined) {
    throw new Problem(412, 'precondition_failed', 'If-None-Match is *, and the resource exists.')
  }
  requireVersion(ifMatch, version)
}

export interface Conditions {
  ifMatch: string | undefined
  /** `*` or undefined. */
  ifNoneMatch: string | undefined
}

function allowsVersion(ifMatch: string, version: number): boolean {
  if (ifMatch.trim() === '*') return true
  return ifMatch.split(',').some(tag => tag.trim().replace(/^W\//, '') === etag(version))
}
