/** Guards a deletion: nothing is deleted that was used lately. */

import { type Static, Type } from 'typebox'
import { DURATION_PATTERN, durationFault, parseDurationParameter } from '../admin-api/duration.ts'
import { instantOrNull } from '../admin-api/instant.ts'
import { nullable } from '../http/json-schema.ts'
import { Problem, ProblemSchema } from '../http/problem.ts'

const MAX_DAYS = 400

/** Says which values of `unusedFor` are allowed. */
export const UNUSED_FOR_FAULT = durationFault(MAX_DAYS)

export const UnusedForQuery = Type.Object(
  {
    unusedFor: Type.Optional(
      Type.String({
        pattern: DURATION_PATTERN,
        'x-fault': UNUSED_FOR_FAULT,
        description: `Only if there was no exchange in this time, else 409. It is always 409 with \`mayIntrospect\`, because introspections are not recorded. An ISO 8601 duration in days and hours, from PT1H to P${MAX_DAYS}D: P7D, PT36H or P1DT12H.`,
        examples: ['P7D']
      })
    )
  },
  { additionalProperties: false }
)

export const RecentlyUsedSchema = Type.Object(
  {
    ...ProblemSchema.properties,
    lastUsedAt: nullable(
      Type.String({
        format: 'date-time',
        description:
          'Instant of the latest exchange. It is null when there was none, and what is to be deleted is too new or may introspect.',
        examples: ['2026-11-23T09:05:12.345Z']
      })
    )
  },
  {
    $id: 'RecentlyUsed',
    additionalProperties: false,
    description: 'A deletion that is refused because of `unusedFor` (RFC 9457)'
  }
)

/** The answer of a guarded deletion that is refused, for openapi.yaml. */
export const recentlyUsedResponse = {
  409: {
    description:
      'recently_used: an exchange was committed within `unusedFor`, or the registration has `mayIntrospect`, whose introspections are not recorded',
    content: { 'application/problem+json': { schema: { $ref: 'RecentlyUsed' } } }
  }
}

/**
 * Returns the time without an exchange that a deletion demands, milliseconds.
 *
 * @param options.recordsUse whether exchanges are recorded. Nothing is known to be unused while they are not
 * @throws Problem 400; 409 `recently_used` when exchanges are not recorded
 */
export function readUnusedFor(
  { recordsUse }: { recordsUse: boolean },
  { unusedFor }: Static<typeof UnusedForQuery>
): number | undefined {
  const unusedForMs = parseDurationParameter('unusedFor', unusedFor, MAX_DAYS)
  if (unusedForMs !== undefined && !recordsUse) {
    throw recentlyUsed(
      'This grantd does not record exchanges, so none is known to be unused. Leave "unusedFor" out.',
      null
    )
  }
  return unusedForMs
}

/** A registration or a credential, as the guard sees it. */
interface Used {
  lastUsedAt: Date | null
  /** From then on, it could be used. */
  createdAt: Date
  /** Whether the registration may introspect, which is not recorded. */
  mayIntrospect: boolean
}

/**
 * Requires that the time since the latest exchange is at least `unusedForMs`. Without an exchange, the time since the
 * creation counts. A registration that may introspect is never known to be unused.
 *
 * @param now milliseconds since the epoch
 * @throws Problem 409 `recently_used`
 */
export function requireUnused({ lastUsedAt, createdAt, mayIntrospect }: Used, unusedForMs: number, now: number): void {
  if (mayIntrospect) {
    throw recentlyUsed(
      'The registration may introspect, and grantd does not record introspections, so it is not known to be unused. Leave "unusedFor" out.',
      lastUsedAt
    )
  }
  const quietSince = (lastUsedAt ?? createdAt).getTime()
  if (now - quietSince < unusedForMs) {
    throw recentlyUsed(
      lastUsedAt === null
        ? 'It was created within "unusedFor", so that somebody may still begin to use it.'
        : 'It was used within "unusedFor", at the latest at "lastUsedAt".',
      lastUsedAt
    )
  }
}

function recentlyUsed(detail: string, lastUsedAt: Date | null): Problem {
  return new Problem(409, 'recently_used', detail, { members: { lastUsedAt: instantOrNull(lastUsedAt) } })
}
