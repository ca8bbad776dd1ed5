import { Type } from 'typebox'
import { DEFAULT_LIMIT } from '../admin-api/page.ts'
import { SITE_ID_PATTERN } from '../admin-api/site.ts'
import { nullable, textEnum } from '../http/json-schema.ts'
import { CLIENT_ID_PATTERN } from '../registrations/client-id.ts'
import { UUID_PATTERN } from './receivers/schemas.ts'

export type NoticeBody = Type.Static<typeof NoticeSchema> & { deliveries: DeliveryBody[] }
export type DeliveryBody = Type.Static<typeof DeliverySchema>
export type NoticeQueryInput = Type.Static<typeof NoticeQuery>

const DELIVERY_STATES = ['pending', 'delivered', 'dead', 'cancelled'] as const

const instant = (description: string) => Type.String({ format: 'date-time', description })
const uuid = (description: string) => Type.String({ pattern: UUID_PATTERN, description })

export const DeliverySchema = Type.Object(
  {
    deliveryId: uuid('Id of the delivery'),
    receiverId: nullable(uuid('The notice receiver; null for one of the service itself')),
    kind: textEnum(['webhook', 'mail'], { description: 'How it is told' }),
    state: textEnum(DELIVERY_STATES, {
      description:
        'pending: to be tried, perhaps again; delivered; dead: given up, until it is sent again; cancelled: the registration was renewed or deleted, or the receiver was'
    }),
    attempts: Type.Integer({ minimum: 0, description: 'Tries so far' }),
    lastAttemptAt: nullable(instant('The latest try')),
    nextAttemptAt: nullable(instant('When it is tried next; null when it is not')),
    deliveredAt: nullable(instant('When the receiver took it last')),
    lastError: nullable(Type.String({ description: 'Why the latest try failed, for people' }))
  },
  {
    $id: 'NoticeDelivery',
    additionalProperties: false,
    description: 'How the delivery of a notice to a receiver stands'
  }
)

export const NoticeSchema = Type.Object(
  {
    noticeId: uuid('Also the id of the event that receivers get'),
    clientId: Type.String({ description: 'Client ID of the registration', examples: ['k3v9x2m7q1w8z5t4r6y0'] }),
    name: Type.String({ description: 'Its name, as it was then' }),
    enabled: Type.Boolean({ description: 'Was it enabled then?' }),
    expiresAt: instant('The expiry that this is about'),
    step: Type.Integer({ minimum: 0, description: 'Days before expiry; 0 at expiry', examples: [30] }),
    firedAt: instant('When it fired'),
    deliveries: Type.Array(Type.Ref('NoticeDelivery'), { description: 'One for each receiver' })
  },
  { $id: 'Notice', additionalProperties: false, description: 'A step of the expiry cadence that fired' }
)

export const NoticePageSchema = Type.Object(
  {
    items: Type.Array(Type.Ref('Notice'), { description: 'The page, the latest first' }),
    nextCursor: nullable(Type.String({ description: 'Value of `cursor` for the next page; null on the last page' }))
  },
  { $id: 'NoticePage', additionalProperties: false, description: 'A page of notices' }
)

export const NoticeQuery = Type.Object(
  {
    limit: Type.Optional(
      Type.Integer({ minimum: 1, maximum: 200, default: DEFAULT_LIMIT, description: 'Rows of a page' })
    ),
    cursor: Type.Optional(
      Type.String({ maxLength: 2_000, description: '`nextCursor` of the page before; all else as it was there' })
    ),
    clientId: Type.Optional(
      Type.String({ pattern: CLIENT_ID_PATTERN, description: 'Only those of this registration' })
    ),
    step: Type.Optional(Type.Integer({ minimum: 0, maximum: 365, description: 'Only those of this step' }))
  },
  { additionalProperties: false }
)

export const DeliveryParams = Type.Object({
  siteId: Type.String({ pattern: SITE_ID_PATTERN, description: 'Id of the Site', examples: ['acme'] }),
  noticeId: uuid('Id of the notice'),
  deliveryId: uuid('Id of the delivery')
})
