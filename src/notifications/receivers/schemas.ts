import { Type } from 'typebox'
import { SITE_ID_PATTERN } from '../../admin-api/site.ts'
import { nullable, textEnum } from '../../http/json-schema.ts'

export type ReceiverBody = Type.Static<typeof ReceiverSchema>

export const UUID_PATTERN = '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'

const KINDS = ['webhook', 'mail'] as const
const MAX_ADDRESSES = 20
const ADDRESS_MAX_LENGTH = 254
const URL_MAX_LENGTH = 2_000
const MAX_STEPS = 10
const MAX_STEP_DAYS = 365

const kind = textEnum(KINDS, { description: 'How it is told', examples: ['webhook'] })
const url = Type.String({
  minLength: 1,
  maxLength: URL_MAX_LENGTH,
  description:
    'Of a webhook: https, without credentials or fragment, not to a loopback, private or reserved address. Redirects are not followed.',
  examples: ['https://hooks.example.com/grantd']
})
const addresses = Type.Array(
  Type.String({
    maxLength: ADDRESS_MAX_LENGTH,
    pattern: "^[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$",
    description: 'A mail address'
  }),
  {
    minItems: 1,
    maxItems: MAX_ADDRESSES,
    uniqueItems: true,
    description: 'Of mail: who gets it',
    examples: [['ops@example.com']]
  }
)
const steps = nullable(
  Type.Array(Type.Integer({ minimum: 0, maximum: MAX_STEP_DAYS, description: 'Days before expiry; 0 at expiry' }), {
    minItems: 1,
    maxItems: MAX_STEPS,
    uniqueItems: true,
    description: 'The steps of the cadence that it wants, in days before expiry; null for all',
    examples: [[7, 0]]
  })
)

export const CreateReceiverSchema = Type.Object(
  { kind, url: Type.Optional(url), addresses: Type.Optional(addresses), steps: Type.Optional(steps) },
  {
    $id: 'CreateNoticeReceiver',
    additionalProperties: false,
    description: 'A notice receiver to make: a webhook with its url, or mail with its addresses'
  }
)

export const ChangeReceiverSchema = Type.Object(
  { url: Type.Optional(url), addresses: Type.Optional(addresses), steps: Type.Optional(steps) },
  {
    $id: 'ChangeNoticeReceiver',
    additionalProperties: false,
    minProperties: 1,
    description: 'The members to change; the others stay'
  }
)

const represented = {
  receiverId: Type.String({
    pattern: UUID_PATTERN,
    description: 'Made by grantd',
    examples: ['0d1f6a52-8c55-4f0e-9a53-5d1f3d3c9b1e']
  }),
  kind,
  url: nullable(url),
  addresses: nullable(addresses),
  steps,
  createdAt: Type.String({ format: 'date-time', description: 'When it was made' }),
  previousSecretUntil: nullable(
    Type.String({
      format: 'date-time',
      description: 'While the signing secret is being replaced: until when the previous one signs too'
    })
  )
}

export const ReceiverSchema = Type.Object(represented, {
  $id: 'NoticeReceiver',
  additionalProperties: false,
  description: 'Somebody whom the Site wants told of expiries'
})

export const ReceiverWithSecretSchema = Type.Object(
  {
    ...represented,
    signingSecret: nullable(
      Type.String({
        description:
          'Signs what a webhook gets (Standard Webhooks). This answer is the only one that ever has it; null for mail.',
        examples: ['whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw0exampleexample=']
      })
    )
  },
  {
    $id: 'NoticeReceiverWithSecret',
    additionalProperties: false,
    description: 'A notice receiver with its signing secret'
  }
)

export const ReceiverListSchema = Type.Object(
  { items: Type.Array(Type.Ref('NoticeReceiver'), { description: 'All of the Site' }) },
  { $id: 'NoticeReceiverList', additionalProperties: false, description: 'The notice receivers of a Site' }
)

export const ReceiverTestSchema = Type.Object(
  {
    delivered: Type.Boolean({ description: 'Did the receiver take it?' }),
    detail: Type.String({ description: 'What happened, for people', examples: ['answered 204'] }),
    eventId: Type.String({ description: '`webhook-id` and CloudEvents id of the test event' })
  },
  { $id: 'NoticeReceiverTest', additionalProperties: false, description: 'What became of a test' }
)

const siteId = Type.String({ pattern: SITE_ID_PATTERN, description: 'Id of the Site', examples: ['acme'] })

export const ReceiverParams = Type.Object({
  siteId,
  receiverId: Type.String({ pattern: UUID_PATTERN, description: 'Id of the receiver' })
})
