import { Type } from 'typebox'
import { nextCursor, pageQuery } from '../admin-api/page.ts'
import { siteIdPattern } from '../admin-api/site.ts'

export type AuditEventBody = Type.Static<typeof AuditEventSchema>

const instant = { format: 'date-time' }

const ACTION_PATTERN = '^[a-z_]+(\\.[a-z_]+)+$'

const represented = {
  sequence: Type.Integer({
    minimum: 1,
    description: 'Number of the event in its Site, counted from 1 without a gap',
    examples: [7]
  }),
  occurredAt: Type.String({ ...instant, description: 'Instant of the change', examples: ['2026-11-23T09:00:00.000Z'] }),
  action: Type.String({
    pattern: ACTION_PATTERN,
    description:
      'Action of the event. Registrations: registration.created, registration.changed, registration.renewed (`expiresAt` moved forward), registration.deleted. Credentials: credential.rotated, credential.retired, credential.leaked (a report has stopped it). Access tokens: tokens.revoked (all that were issued so far). Claim tickets: claim.created. Receivers: receiver.created, receiver.changed, receiver.secret_rotated, receiver.deleted. Deliveries: delivery.retried. Calendar feeds: calendar_feed.created, calendar_feed.replaced, calendar_feed.revoked. More actions may be added.',
    examples: ['registration.renewed']
  }),
  subject: Type.String({
    description: 'Client id of the registration, or id of another resource',
    examples: ['k3v9x2m7q1w8z5t4r6y0']
  }),
  actor: Type.String({
    description:
      "`sub` of the administrator's token, or what stands in for an administrator: claim, client, secret report, unused registrations",
    examples: ['ada']
  }),
  actorIssuer: Type.String({
    description: "`iss` of the administrator's token, or the issuer of grantd where no administrator acts",
    examples: ['https://identity.example.com']
  }),
  requestId: Type.String({ description: 'Id of the request, which the log has too', examples: ['req-1'] }),
  source: Type.String({ description: 'Address that the request came from', examples: ['192.0.2.1'] }),
  // A value may have any type. The schema of a free-form object is one that every generator can read.
  changes: Type.Unsafe<Record<string, { from: unknown; to: unknown }>>({
    type: 'object',
    additionalProperties: { type: 'object', additionalProperties: true },
    description:
      'For each changed field an object with the value before (`from`) and after (`to`). Null stands for no value. Addresses of receivers are redacted.',
    examples: [{ expiresAt: { from: '2027-01-01T00:00:00.000Z', to: '2027-06-30T22:00:00.000Z' } }]
  }),
  hash: Type.String({
    pattern: '^[0-9a-f]{64}$',
    description: 'SHA-256 over the event and the hash of the event before it in its Site, in hexadecimal',
    examples: ['9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08']
  })
}

export const AuditEventSchema = Type.Object(represented, {
  $id: 'AuditEvent',
  additionalProperties: false,
  description: 'A change by an administrator'
})

export const AuditEventOfSiteSchema = Type.Object(
  { siteId: Type.String({ description: 'Id of the Site of the change', examples: ['acme'] }), ...represented },
  { $id: 'AuditEventOfSite', additionalProperties: false, description: 'A change by an administrator, with its Site' }
)

export const AuditEventPageSchema = Type.Object(
  { items: Type.Array(Type.Ref('AuditEvent'), { description: 'Events, the newest first' }), nextCursor },
  { $id: 'AuditEventPage', additionalProperties: false, description: 'A page of audit events' }
)

export const AuditEventOfSitePageSchema = Type.Object(
  { items: Type.Array(Type.Ref('AuditEventOfSite'), { description: 'Events, the newest first' }), nextCursor },
  { $id: 'AuditEventOfSitePage', additionalProperties: false, description: 'A page of audit events of all Sites' }
)

const filters = {
  ...pageQuery,
  clientId: Type.Optional(
    Type.String({
      pattern: '^[!-~]{1,64}$',
      'x-fault': 'must be 1 to 64 visible ASCII characters',
      description: 'Only events of this subject: 1 to 64 visible ASCII characters'
    })
  ),
  actor: Type.Optional(
    Type.String({
      minLength: 1,
      maxLength: 255,
      pattern: '^[^\\u0000]*$',
      'x-fault': 'must not contain NUL characters',
      description: 'Only events of this actor. NUL characters are not allowed.'
    })
  ),
  action: Type.Optional(
    Type.String({
      maxLength: 64,
      pattern: ACTION_PATTERN,
      'x-fault': 'must be lowercase words that are separated by dots',
      description: 'Only events with this action: lowercase words that are separated by dots'
    })
  ),
  from: Type.Optional(Type.String({ ...instant, description: 'Only events at or after this instant (RFC 3339)' })),
  to: Type.Optional(Type.String({ ...instant, description: 'Only events before this instant (RFC 3339)' }))
}

export const EventQuery = Type.Object(filters, { additionalProperties: false })

export const EventOfSiteQuery = Type.Object(
  {
    ...filters,
    siteId: Type.Optional(Type.String({ ...siteIdPattern, description: 'Only events of this Site' }))
  },
  { additionalProperties: false }
)

export type EventInput = Type.Static<typeof EventQuery>
