import { Type } from 'typebox'
import { nextCursor, pageQuery } from '../admin-api/page.ts'
import { SITE_ID_PATTERN, siteId } from '../admin-api/site.ts'
import { nullable, textEnum } from '../http/json-schema.ts'
import { CLIENT_ID_PATTERN } from './client-id.ts'
import { REGISTRATION_STATES } from './lifecycle.ts'

/** A body to make a registration of, with what it left out. */
export type NewRegistration = Required<Type.Static<typeof CreateRegistrationSchema>>
export type RegistrationBody = Type.Static<typeof RegistrationSchema>

const MAX_SCOPES = 50
const SCOPE_MAX_LENGTH = 128

const instant = { format: 'date-time' }

const name = Type.String({
  description:
    'Label of the consumer, for people: trimmed, Unicode NFC, 1 to 100 code points, no control, zero-width or text direction characters. Need not be unique.',
  examples: ['billing export']
})
const expiresAt = Type.String({
  ...instant,
  description:
    'Instant from which the secret is refused: RFC 3339 with an offset, in the future, within the lifetime limit. Kept in milliseconds.',
  examples: ['2027-06-30T22:00:00.000Z']
})
const enabled = Type.Boolean({
  description: 'Off: refused at the token endpoint although all else is valid. Can be turned on again.',
  examples: [true]
})
const scopes = Type.Array(
  Type.String({
    pattern: '^[!#-\\[\\]-~]+$',
    maxLength: SCOPE_MAX_LENGTH,
    description: 'A scope token (RFC 6749 §3.3)'
  }),
  {
    maxItems: MAX_SCOPES,
    uniqueItems: true,
    description: 'Scopes it may ask for. Asking for none grants all of them.',
    examples: [['devices:read']]
  }
)

export const CreateRegistrationSchema = Type.Object(
  {
    name,
    expiresAt,
    enabled: Type.Optional({ ...enabled, default: true }),
    scopes: Type.Optional({ ...scopes, default: [] })
  },
  { $id: 'CreateRegistration', additionalProperties: false, description: 'A registration to make' }
)

export const ChangeRegistrationSchema = Type.Object(
  {
    name: Type.Optional(name),
    expiresAt: Type.Optional(expiresAt),
    enabled: Type.Optional(enabled),
    scopes: Type.Optional(scopes)
  },
  {
    $id: 'ChangeRegistration',
    additionalProperties: false,
    minProperties: 1,
    description: 'The members to change; the others stay. Moving expiresAt is renewal.'
  }
)

/** Long enough for the slowest roll-out, short enough that a rotation is one. */
const OVERLAP_MAX_SECONDS = 30 * 86_400
export const OVERLAP_DEFAULT_SECONDS = 86_400

export const RotateSecretSchema = Type.Object(
  {
    overlapSeconds: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: OVERLAP_MAX_SECONDS,
        default: OVERLAP_DEFAULT_SECONDS,
        description: 'How long the secret so far works on, in seconds'
      })
    )
  },
  { $id: 'RotateSecret', additionalProperties: false, description: 'A rotation of the Client secret' }
)

const clientId = Type.String({
  pattern: CLIENT_ID_PATTERN,
  description: 'Client ID: made by grantd, never reused',
  examples: ['k3v9x2m7q1w8z5t4r6y0']
})

const represented = {
  clientId,
  name,
  expiresAt,
  enabled,
  scopes,
  registeredAt: Type.String({ ...instant, description: 'Registration date', examples: ['2026-11-23T09:00:00.000Z'] }),
  lastUsedAt: nullable(
    Type.String({
      ...instant,
      description: 'Instant of the latest successful exchange; null before the first',
      examples: ['2026-11-23T09:05:12.345Z']
    })
  ),
  secretCreatedAt: Type.String({
    ...instant,
    description: 'When the Client secret was made',
    examples: ['2026-11-23T09:00:00.000Z']
  }),
  secretLastUsedAt: nullable(
    Type.String({
      ...instant,
      description: 'Instant of the latest exchange with the Client secret, not counting the previous one',
      examples: ['2026-11-23T09:05:12.345Z']
    })
  ),
  previousSecret: nullable(
    Type.Object(
      {
        createdAt: Type.String({ ...instant, description: 'When it was made' }),
        expiresAt: Type.String({ ...instant, description: 'Instant from which it is refused' }),
        lastUsedAt: nullable(Type.String({ ...instant, description: 'Instant of the latest exchange with it' }))
      },
      {
        additionalProperties: false,
        description: 'The secret before the latest rotation, while it works beside the new one; else null'
      }
    )
  ),
  expiresInDays: Type.Integer({
    minimum: 0,
    description: 'Days left, rounded up: 1 on the last day, 0 once expired',
    examples: [219]
  }),
  state: textEnum(REGISTRATION_STATES, {
    description: 'A function of expiresAt and now: more than 30 days left, at most 30, at most 7, none',
    examples: ['active']
  })
}

export const RegistrationSchema = Type.Object(represented, {
  $id: 'Registration',
  additionalProperties: false,
  description: 'An App registration'
})

export const CreatedRegistrationSchema = Type.Object(
  {
    ...represented,
    clientSecret: Type.String({
      description: 'Client secret. No other answer ever has it, but that to a retry with the same Idempotency-Key.',
      examples: ['grantd_0exampleexampleexampleexampleexampleexample0AbCdEf']
    })
  },
  { $id: 'CreatedRegistration', additionalProperties: false, description: 'A new App registration with its secret' }
)

export const RegistrationOfSiteSchema = Type.Object(
  { siteId: Type.String({ description: 'The Site it belongs to', examples: ['acme'] }), ...represented },
  { $id: 'RegistrationOfSite', additionalProperties: false, description: 'An App registration with its Site' }
)

export const RegistrationPageSchema = Type.Object(
  { items: Type.Array(Type.Ref('Registration'), { description: 'The page' }), nextCursor },
  { $id: 'RegistrationPage', additionalProperties: false, description: 'A page of registrations' }
)

export const RegistrationOfSitePageSchema = Type.Object(
  { items: Type.Array(Type.Ref('RegistrationOfSite'), { description: 'The page' }), nextCursor },
  { $id: 'RegistrationOfSitePage', additionalProperties: false, description: 'A page of registrations of all Sites' }
)

export const RegistrationParams = Type.Object({ siteId, clientId })

const GRID_COLUMNS = [
  'name',
  'clientId',
  'registeredAt',
  'expiresAt',
  'expiresInDays',
  'state',
  'enabled',
  'lastUsedAt'
] as const
/** Those an index serves over all Sites. */
const COLUMNS_OF_ALL_SITES = ['name', 'clientId', 'registeredAt', 'expiresAt', 'expiresInDays', 'state'] as const

type Descending<T extends string> = T | `-${T}`

function bothWays<const T extends string>(columns: readonly T[]): Descending<T>[] {
  return columns.flatMap((column): Descending<T>[] => [column, `-${column}`])
}

export const DEFAULT_SORT = 'name'

const listing = {
  ...pageQuery,
  search: Type.Optional(
    Type.String({
      maxLength: 100,
      pattern: '^[^\\u0000]*$',
      description: 'Part of the name or the client id, without regard to case and accents; no wildcards'
    })
  ),
  state: Type.Optional(textEnum(REGISTRATION_STATES, { description: 'Only those in this state' })),
  enabled: Type.Optional(Type.Boolean({ description: 'Only those that are enabled, or only those that are not' })),
  unusedSince: Type.Optional(
    Type.String({ ...instant, description: 'Only those without an exchange at or after this instant (RFC 3339)' })
  )
}

function sortBy<const T extends string>(columns: readonly T[]) {
  return Type.Optional(
    textEnum(bothWays(columns), { default: DEFAULT_SORT, description: 'Column to sort by; `-` for descending' })
  )
}

export const ListQuery = Type.Object({ ...listing, sort: sortBy(GRID_COLUMNS) }, { additionalProperties: false })

export const ListAllQuery = Type.Object(
  {
    ...listing,
    sort: sortBy(COLUMNS_OF_ALL_SITES),
    siteId: Type.Optional(Type.String({ pattern: SITE_ID_PATTERN, description: 'Only those of this Site' }))
  },
  { additionalProperties: false }
)

export type ListInput = Type.Static<typeof ListQuery>
export type GridColumn = (typeof GRID_COLUMNS)[number]

/** Guessing one that is random takes longer than it is good for. */
const IDEMPOTENCY_KEY_MIN_LENGTH = 16
const IDEMPOTENCY_KEY_MAX_LENGTH = 255

export const IdempotencyKey = Type.Object({
  'idempotency-key': Type.Optional(
    Type.String({
      minLength: IDEMPOTENCY_KEY_MIN_LENGTH,
      maxLength: IDEMPOTENCY_KEY_MAX_LENGTH,
      pattern: '^[!-~]*$',
      description:
        'Makes retries safe: for 10 minutes the same key with the same body gets the same answer, secret included. 16 to 255 visible ASCII characters, random, such as a UUID: it opens the stored answer.',
      examples: ['8e03978e-40d5-43dd-bc93-6894a57f9324']
    })
  )
})
