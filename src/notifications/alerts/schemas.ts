import { Type } from 'typebox'
import { nextCursor, pageQuery } from '../../admin-api/page.ts'
import { siteIdPattern } from '../../admin-api/site.ts'

export type AlertBody = Type.Static<typeof AlertSchema>
export type AlertQueryInput = Type.Static<typeof AlertQuery>

const represented = {
  clientId: Type.String({ description: 'Client ID of the registration', examples: ['k3v9x2m7q1w8z5t4r6y0'] }),
  name: Type.String({ description: 'Name of the registration', examples: ['billing export'] }),
  expiresAt: Type.String({
    format: 'date-time',
    description: 'Instant of the expiry. Since then the Client secret is refused.'
  }),
  enabled: Type.Boolean({
    description: 'Whether the registration is enabled. A disabled registration stays refused after a renewal.'
  }),
  expiredDays: Type.Integer({ minimum: 0, description: 'Whole days since the expiry', examples: [3] })
}

export const AlertSchema = Type.Object(represented, {
  $id: 'Alert',
  additionalProperties: false,
  description: 'An expired registration. The alert disappears when the registration is renewed or deleted.'
})

export const AlertOfSiteSchema = Type.Object(
  { siteId: Type.String({ description: 'Site of the registration', examples: ['acme'] }), ...represented },
  { $id: 'AlertOfSite', additionalProperties: false, description: 'An alert with its Site' }
)

export const AlertPageSchema = Type.Object(
  { items: Type.Array(Type.Ref('Alert'), { description: 'Alerts, the latest expiry first' }), nextCursor },
  { $id: 'AlertPage', additionalProperties: false, description: 'A page of alerts' }
)

export const AlertOfSitePageSchema = Type.Object(
  { items: Type.Array(Type.Ref('AlertOfSite'), { description: 'Alerts, the latest expiry first' }), nextCursor },
  { $id: 'AlertOfSitePage', additionalProperties: false, description: 'A page of the alerts of all Sites' }
)

export const AlertQuery = Type.Object(pageQuery, { additionalProperties: false })

export const AlertAllQuery = Type.Object(
  {
    ...pageQuery,
    siteId: Type.Optional(Type.String({ ...siteIdPattern, description: 'Only the alerts of this Site' }))
  },
  { additionalProperties: false }
)
