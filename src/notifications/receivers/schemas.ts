import { type TSchema, Type } from 'typebox'
import { siteId } from '../../admin-api/site.ts'
import { nullable, textEnum } from '../../http/json-schema.ts'
import { CHANNELS } from '../channels/channels.ts'

/** A body that the schemas below have checked. Beside these members it has those of the channels. */
export interface ReceiverPatch {
  steps?: number[] | null
}
export interface NewReceiver extends ReceiverPatch {
  kind: string
}
export interface ReceiverBody extends NewReceiver {
  receiverId: string
  createdAt: string
  previousSecretExpiresAt: string | null
}

export const UUID_PATTERN = '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'

const MAX_STEPS = 10
const MAX_STEP_DAYS = 365

export const kind = textEnum(
  CHANNELS.map(channel => channel.kind),
  { description: 'Channel by which the receiver is notified', examples: ['webhook'] }
)

const steps = nullable(
  Type.Array(
    Type.Integer({ minimum: 0, maximum: MAX_STEP_DAYS, description: 'Days before expiry; 0 for the expiry itself' }),
    {
      minItems: 1,
      maxItems: MAX_STEPS,
      uniqueItems: true,
      description:
        'Steps of the expiry cadence that the receiver wants, as days from `NOTICE_DAYS`. It is null for all steps. A receiver gets notices of every other type.',
      examples: [[7, 0]]
    }
  )
)

/** The members of all channels. Which of them a receiver has depends on its kind. */
const members = Object.assign({}, ...CHANNELS.map(channel => channel.members))

function eachOf(wrap: (schema: TSchema) => TSchema): Record<string, TSchema> {
  return Object.fromEntries(Object.entries<TSchema>(members).map(([name, schema]) => [name, wrap(schema)]))
}

export const CreateReceiverSchema = Type.Object(
  { kind, ...eachOf(Type.Optional), steps: Type.Optional(steps) },
  {
    $id: 'CreateNoticeReceiver',
    additionalProperties: false,
    description: 'A new notice receiver. A webhook needs `url`, a mail receiver needs `addresses`.'
  }
)

export const ChangeReceiverSchema = Type.Object(
  { ...eachOf(Type.Optional), steps: Type.Optional(steps) },
  {
    $id: 'ChangeNoticeReceiver',
    additionalProperties: false,
    minProperties: 1,
    description: 'The members to change. Members that are left out stay as they are.'
  }
)

const represented = {
  receiverId: Type.String({
    pattern: UUID_PATTERN,
    description: 'Id of the receiver, assigned by grantd',
    examples: ['0d1f6a52-8c55-4f0e-9a53-5d1f3d3c9b1e']
  }),
  kind,
  ...eachOf(nullable),
  steps,
  createdAt: Type.String({ format: 'date-time', description: 'Time at which the receiver was created' }),
  previousSecretExpiresAt: nullable(
    Type.String({
      format: 'date-time',
      description:
        'Time until which the previous signing secret signs too. It is null unless the secret was rotated in the last 24 hours.'
    })
  )
}

export const ReceiverSchema = Type.Object(represented, {
  $id: 'NoticeReceiver',
  additionalProperties: false,
  description: 'A webhook or a mail receiver that gets the expiry notices of a Site'
})

export const ReceiverWithSecretSchema = Type.Object(
  {
    ...represented,
    signingSecret: nullable(
      Type.String({
        description:
          'Secret that signs the requests to a webhook (Standard Webhooks). Only this answer has it. It is null for mail.',
        examples: ['whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw0exampleexample=']
      })
    )
  },
  {
    $id: 'NoticeReceiverWithSecret',
    additionalProperties: false,
    description: 'A notice receiver with its new signing secret'
  }
)

export const ReceiverListSchema = Type.Object(
  { items: Type.Array(Type.Ref('NoticeReceiver'), { description: 'All receivers of the Site, the oldest first' }) },
  { $id: 'NoticeReceiverList', additionalProperties: false, description: 'The notice receivers of a Site' }
)

export const ReceiverTestSchema = Type.Object(
  {
    delivered: Type.Boolean({ description: 'Whether the receiver accepted the test event' }),
    detail: Type.String({ description: 'Result in words for administrators', examples: ['answered 204'] }),
    eventId: Type.String({ description: '`webhook-id` of the request and CloudEvents id of the test event' })
  },
  { $id: 'NoticeReceiverTest', additionalProperties: false, description: 'Result of a test' }
)

export const ReceiverParams = Type.Object({
  siteId,
  receiverId: Type.String({
    pattern: UUID_PATTERN,
    description: 'Id of the receiver',
    examples: ['0d1f6a52-8c55-4f0e-9a53-5d1f3d3c9b1e']
  })
})
