/** Rules over the audiences of a registration (RFC 8707 §2). */

import type { Fault } from '../http/problem.ts'

/** A URI without fragment, user information and characters that a URI has not (RFC 3986 §4.3). */
const ABSOLUTE_URI = /^[a-z][a-z\d+.-]*:(?:[\w!$&'()*+,;=:@/?.~[\]-]|%[\da-f]{2})+$/i
const USER_INFORMATION = /^[^/]*:\/\/[^/?]*@/
/** Schemes whose URIs name a host. */
const HTTP = /^https?:/i

/**
 * Returns the form in which audiences are compared. An empty path equals "/" (RFC 3986 §6.2.3). Nothing else is
 * normalised: case, port and a "/" at the end make a difference.
 */
export function comparableAudience(audience: string): string {
  return audience.replace(/^([a-z][a-z\d+.-]*:\/\/[^/?#]+)(?=\?|$)/i, '$1/')
}

/** Returns what is wrong with each audience, and each that repeats one before it. */
export function audienceFaults(audiences: readonly string[]): Fault[] {
  const faultAt = (index: number, code: string, detail: string) => ({ pointer: `/audiences/${index}`, code, detail })
  const first = new Map<string, number>()
  return audiences.flatMap((audience, index) => {
    const detail = formFault(audience, index)
    const faults = detail === undefined ? [] : [faultAt(index, 'invalid_value', detail)]
    const form = comparableAudience(audience)
    const same = first.get(form)
    if (same === undefined) first.set(form, index)
    else faults.push(faultAt(index, 'duplicate', `is the same as /audiences/${same}. An empty path equals "/".`))
    return faults
  })
}

function formFault(audience: string, index: number): string | undefined {
  if (!audience.includes(':')) {
    return index === 0 ? undefined : 'can be a plain name in the first place only, because "resource" selects by URI'
  }
  if (audience.includes('#')) return 'must not have a fragment (RFC 8707 §2)'
  if (USER_INFORMATION.test(audience)) return 'must not have a user name or a password'
  const isUri = ABSOLUTE_URI.test(audience) && (!HTTP.test(audience) || namesHost(audience))
  return isUri ? undefined : 'must be an absolute URI such as https://api.example.com, or a plain name without ":"'
}

function namesHost(uri: string): boolean {
  return /^https?:\/\/[^/?]/i.test(uri) && URL.canParse(uri)
}
