import { Type } from 'typebox'
import { nextCursor, pageQuery } from '../admin-api/page.ts'
import { siteId } from '../admin-api/site.ts'
import { nullable, textEnum } from '../http/json-schema.ts'
import { CLIENT_ID_PATTERN } from '../registrations/client-id.ts'
import { kind, UUID_PATTERN } from './receivers/schemas.ts'
import { NOTICE_TYPES } from './types.ts'

export type NoticeBody = Type.Static<typeof NoticeSchema> & { deliveries: DeliveryBody[] }
export type DeliveryBody = Type.Static<typeof DeliverySchema>
export type NoticeQueryInput = Type.Static<typeof NoticeQuery>

const DELIVERY_STATES = ['pending', 'delivered', 'dead', 'cancelled'] as const

const instant = (description: string) => Type.String({ format: 'date-time', description })
const uuid = (description: string) =>
  Type.String({ pattern: UUID_PATTERN, description, examples: ['7b0f5f0e-6f4e-4a39-9c8b-2f1d8f0c7a55'] })

export const DeliverySchema = Type.Object(
  {
    deliveryId: uuid('Id of the delivery'),
    receiverId: nullable(uuid("Id of the notice receiver. It is null for one of the service's own receivers.")),
    kind,
    state: textEnum(DELIVERY_STATES, {
      description:
        '`pending`: grantd will try it, perhaps again. `delivered`: the receiver accepted it. `dead`: grantd gave up; it can be retried. `cancelled`: the registration was renewed or deleted, or the receiver was deleted.'
    }),
    attempts: Type.Integer({ minimum: 0, description: 'Number of tries so far' }),
    lastAttemptAt: nullable(instant('Time of the latest try')),
    nextAttemptAt: nullable(instant('Time of the next try. It is null when there is none.')),
    deliveredAt: nullable(instant('Time at which the receiver last accepted it')),
    lastError: nullable(Type.String({ description: 'Why the latest try failed, in words for administrators' }))
  },
  {
    $id: 'NoticeDelivery',
    additionalProperties: false,
    description: 'The delivery of a notice to one receiver'
  }
)

export const NoticeSchema = Type.Object(
  {
    noticeId: uuid('Id of the notice, which is also the id of the event that receivers get'),
    clientId: Type.String({ description: 'Client ID of the registration', examples: ['k3v9x2m7q1w8z5t4r6y0'] }),
    name: Type.String({ description: 'Name of the registration when the notice fired', examples: ['billing export'] }),
    enabled: Type.Boolean({ description: 'Whether the registration was enabled when the notice fired' }),
    expiresAt: instant('Expiry of the registration when the notice fired'),
    type: Type.String({
      description: `Subject of the notice, for programs: ${NOTICE_TYPES.join(', ')}. \`expiry\` is a step of the expiry cadence. Later versions may add types.`,
      examples: ['expiry']
    }),
    step: nullable(
      Type.Integer({
        minimum: 0,
        description: 'Days before expiry; 0 for the expiry itself. It is null for a notice of another type.',
        examples: [30]
      })
    ),
    details: Type.Record(Type.String(), Type.Unknown(), {
      description:
        'More members of the event, by its type: `source`, for example, and `credential`, `url` and `reporter` of a leaked secret. It is empty for `expiry`. `url` and `reporter` are text of a stranger.',
      examples: [{ source: '203.0.113.7' }]
    }),
    firedAt: instant('Time at which the notice fired'),
    deliveries: Type.Array(Type.Ref('NoticeDelivery'), { description: 'One delivery for each receiver' })
  },
  {
    $id: 'Notice',
    additionalProperties: false,
    description: 'A notice that has fired: a step of the expiry cadence, or something that happened'
  }
)

export const NoticePageSchema = Type.Object(
  { items: Type.Array(Type.Ref('Notice'), { description: 'Notices, the latest first' }), nextCursor },
  { $id: 'NoticePage', additionalProperties: false, description: 'A page of notices' }
)

export const NoticeQuery = Type.Object(
  {
    ...pageQuery,
    clientId: Type.Optional(
      Type.String({
        pattern: CLIENT_ID_PATTERN,
        'x-fault': 'must be a client id: 20 lowercase letters and digits',
        description: 'Only notices of this registration',
        examples: ['k3v9x2m7q1w8z5t4r6y0']
      })
    ),
    step: Type.Optional(
      Type.Integer({ minimum: 0, maximum: 365, description: 'Only notices of this step', examples: [30] })
    )
  },
  { additionalProperties: false }
)

export const DeliveryParams = Type.Object({
  siteId,
  noticeId: uuid('Id of the notice'),
  deliveryId: uuid('Id of the delivery')
})
