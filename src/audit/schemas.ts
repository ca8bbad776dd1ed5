import { Type } from 'typebox'
import { nextCursor, pageQuery } from '../admin-api/page.ts'
import { SITE_ID_PATTERN } from '../admin-api/site.ts'

export type AuditEventBody = Type.Static<typeof AuditEventSchema>

const instant = { format: 'date-time' }

const ACTION_PATTERN = '^[a-z_]+(\\.[a-z_]+)+$'

const represented = {
  sequence: Type.Integer({ minimum: 1, description: 'Counts the events of the Site, without a gap', examples: [7] }),
  occurredAt: Type.String({ ...instant, description: 'Instant of the change', examples: ['2026-11-23T09:00:00.000Z'] }),
  action: Type.String({
    pattern: ACTION_PATTERN,
    description:
      'What was done: registration.created, registration.changed, registration.renewed (expiresAt moved forward), registration.rotated (a new secret), secret.retired (the one before the latest rotation), registration.deleted; receiver.created, receiver.changed, receiver.secret_rotated (a new signing secret), receiver.deleted; delivery.retried (a notice is sent again). There may be more.',
    examples: ['registration.renewed']
  }),
  subject: Type.String({
    description: 'Client id of the registration, or id of what else was acted on',
    examples: ['k3v9x2m7q1w8z5t4r6y0']
  }),
  actor: Type.String({ description: "`sub` of the administrator's token", examples: ['ada'] }),
  actorIssuer: Type.String({ description: '`iss` of that token', examples: ['https://identity.example.com'] }),
  requestId: Type.String({ description: 'Id of the request, also in the log', examples: ['req-1'] }),
  source: Type.String({ description: 'Address that the request came from', examples: ['192.0.2.1'] }),
  changes: Type.Unsafe<Record<string, { from: unknown; to: unknown }>>({
    type: 'object',
    additionalProperties: {
      type: 'object',
      additionalProperties: false,
      required: ['from', 'to'],
      properties: {
        from: { description: 'Value before; null where there was none' },
        to: { description: 'Value after; null where there is none' }
      }
    },
    description: 'Per field its value before and after; of a URL its origin alone',
    examples: [{ expiresAt: { from: '2027-01-01T00:00:00.000Z', to: '2027-06-30T22:00:00.000Z' } }]
  }),
  hash: Type.String({
    pattern: '^[0-9a-f]{64}$',
    description: 'SHA-256 over the event and the hash of the one before it in its Site, hexadecimal',
    examples: ['9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08']
  })
}

export const AuditEventSchema = Type.Object(represented, {
  $id: 'AuditEvent',
  additionalProperties: false,
  description: 'Something that an administrator did'
})

export const AuditEventOfSiteSchema = Type.Object(
  { siteId: Type.String({ description: 'The Site in which it was done', examples: ['acme'] }), ...represented },
  { $id: 'AuditEventOfSite', additionalProperties: false, description: 'Something that an administrator did in a Site' }
)

export const AuditEventPageSchema = Type.Object(
  { items: Type.Array(Type.Ref('AuditEvent'), { description: 'The page, the newest event first' }), nextCursor },
  { $id: 'AuditEventPage', additionalProperties: false, description: 'A page of audit events' }
)

export const AuditEventOfSitePageSchema = Type.Object(
  { items: Type.Array(Type.Ref('AuditEventOfSite'), { description: 'The page, the newest event first' }), nextCursor },
  { $id: 'AuditEventOfSitePage', additionalProperties: false, description: 'A page of audit events of all Sites' }
)

const filters = {
  ...pageQuery,
  clientId: Type.Optional(
    Type.String({ pattern: '^[!-~]{1,64}$', description: 'Only those on this registration, or another subject' })
  ),
  actor: Type.Optional(
    Type.String({ minLength: 1, maxLength: 255, pattern: '^[^\\u0000]*$', description: 'Only those of this actor' })
  ),
  action: Type.Optional(
    Type.String({ maxLength: 64, pattern: ACTION_PATTERN, description: 'Only those of this action' })
  ),
  from: Type.Optional(Type.String({ ...instant, description: 'Only those at or after this instant (RFC 3339)' })),
  to: Type.Optional(Type.String({ ...instant, description: 'Only those before this instant (RFC 3339)' }))
}

export const EventQuery = Type.Object(filters, { additionalProperties: false })

export const EventOfSiteQuery = Type.Object(
  {
    ...filters,
    siteId: Type.Optional(Type.String({ pattern: SITE_ID_PATTERN, description: 'Only those of this Site' }))
  },
  { additionalProperties: false }
)

export type EventInput = Type.Static<typeof EventQuery>
