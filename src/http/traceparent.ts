import type { IncomingHttpHeaders } from 'node:http'

/** Version, trace-id, parent-id and trace-flags. A version after 00 may append more. */
const GRAMMAR = /^([0-9a-f]{2})-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-|$)/
/** Characters of the four fields, which are all that a later version may be relied on for. */
const LENGTH = 55

/**
 * Returns the `traceparent` of a request, for its log line (W3C Trace Context §3.2).
 *
 * It has hexadecimal digits and dashes only, so it cannot break out of the log. No Client secret can be one, because a
 * secret begins with six characters without a dash.
 *
 * @returns undefined when there is none, or one that the specification says to ignore
 */
export function traceparentOf({ traceparent: header }: IncomingHttpHeaders): string | undefined {
  // Node joins two with a comma, which the grammar rejects.
  if (typeof header !== 'string') return undefined
  const [, version, rest] = GRAMMAR.exec(header) ?? []
  if (version === undefined || version === 'ff' || (version === '00' && rest === '-')) return undefined
  return header.slice(0, LENGTH)
}
