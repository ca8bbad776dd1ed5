import { Type } from 'typebox'
import { nextCursor, pageQuery } from '../admin-api/page.ts'
import { siteId, siteIdPattern } from '../admin-api/site.ts'
import { nullable, textEnum } from '../http/json-schema.ts'
import type { ClaimTicket } from './claims/schemas.ts'
import { CLIENT_ID_PATTERN } from './client-id.ts'
import { credential, credentialInput, previousCredential } from './credential-schemas.ts'
import { addedFields, fieldSchemas } from './fields.ts'
import { registrationKey } from './keyed/key.ts'
import { DISABLED_REASONS, REGISTRATION_STATES } from './lifecycle.ts'

export type RegistrationBody = Type.Static<typeof RegistrationSchema>
export interface CreatedRegistrationBody extends RegistrationBody {
  clientSecret?: string
  claim?: ClaimTicket
}

const instant = { format: 'date-time' }
const { enabled, scopes, audiences, tokenLifetimeSeconds, dpopBound, mayIntrospect, mayIdle, selfRotation } =
  fieldSchemas

/** Members of a body that makes a registration. */
export const newMembers = {
  ...fieldSchemas,
  enabled: Type.Optional({ ...enabled, default: true }),
  scopes: Type.Optional({ ...scopes, default: [] }),
  audiences: Type.Optional({ ...audiences, default: addedFields.audiences }),
  tokenLifetimeSeconds: Type.Optional({ ...tokenLifetimeSeconds, default: addedFields.tokenLifetimeSeconds }),
  dpopBound: Type.Optional({ ...dpopBound, default: addedFields.dpopBound }),
  mayIntrospect: Type.Optional({ ...mayIntrospect, default: addedFields.mayIntrospect }),
  mayIdle: Type.Optional({ ...mayIdle, default: addedFields.mayIdle }),
  selfRotation: Type.Optional({ ...selfRotation, default: addedFields.selfRotation }),
  ...credentialInput,
  deliver: Type.Optional(
    textEnum(['secret', 'claim'], {
      description:
        'How the Client secret is handed over: in this answer, as without this member, or to the holder of the claim ticket in this answer',
      examples: ['claim']
    })
  )
}

export const CreateRegistrationSchema = Type.Object(
  { ...newMembers, key: Type.Optional(registrationKey) },
  {
    $id: 'CreateRegistration',
    additionalProperties: false,
    description:
      'An App registration to create. Its credential is `publicKey` or `federated`. With neither of them it is a Client secret, which grantd makes.'
  }
)

export const ChangeRegistrationSchema = Type.Partial(Type.Object(fieldSchemas), {
  $id: 'ChangeRegistration',
  additionalProperties: false,
  minProperties: 1,
  description: 'The fields to change. The other fields stay as they are. Moving `expiresAt` forward renews.'
})

const clientId = Type.String({
  pattern: CLIENT_ID_PATTERN,
  description: 'Client ID, made by grantd. It is never used again after a delete.',
  examples: ['k3v9x2m7q1w8z5t4r6y0']
})

const represented = {
  clientId,
  key: nullable(registrationKey),
  ...fieldSchemas,
  registeredAt: Type.String({
    ...instant,
    description: 'Registration date',
    examples: ['2026-11-23T09:00:00.000Z']
  }),
  lastUsedAt: nullable(
    Type.String({
      ...instant,
      description: 'Instant of the latest successful exchange. It is null before the first one.',
      examples: ['2026-11-23T09:05:12.345Z']
    })
  ),
  exchangeCount: Type.Integer({
    minimum: 0,
    // A client with a hundred exchanges each second has more than fit in 32 bits after nine months.
    format: 'int64',
    description: 'Number of successful exchanges since the registration',
    examples: [4711]
  }),
  expiresInDays: Type.Integer({
    minimum: 0,
    description: 'Days left until the expiry, rounded up: 1 on the last day, 0 once expired',
    examples: [219]
  }),
  state: textEnum(REGISTRATION_STATES, {
    description: 'How near the expiry is: more than 30 days, at most 30 days, at most 7 days, or past',
    examples: ['active']
  }),
  disabledReason: nullable(
    Type.String({
      description: `Why grantd itself has disabled the registration: ${DISABLED_REASONS.join(', ')}. It is null while the registration is enabled, and when an administrator has disabled it. Later versions may add reasons.`,
      examples: ['leaked']
    })
  ),
  tokensValidFrom: nullable(
    Type.String({
      ...instant,
      description:
        'Access tokens that were issued before this instant are not active. `POST …/revoke-tokens`, disabling and enabling move it, and so does a renewal after an expiry that a change had moved to within a day. It is null when no token was ever stopped.',
      examples: ['2026-11-23T09:05:13.000Z']
    })
  ),
  unclaimed: Type.Boolean({
    description: 'Whether nobody has the current secret: the previous one has leaked, or a claim ticket is waiting',
    examples: [false]
  }),
  credential,
  previousCredential
}

export const RegistrationSchema = Type.Object(represented, {
  $id: 'Registration',
  additionalProperties: false,
  description: 'An App registration'
})

export const CreatedRegistrationSchema = Type.Object(
  {
    ...represented,
    clientSecret: Type.Optional(
      Type.String({
        description:
          'Client secret, when the new credential is one. No other answer has it, except the answer to a retry with the same Idempotency-Key.',
        examples: ['grantd_0exampleexampleexampleexampleexampleexample0AbCdEf']
      })
    ),
    claim: Type.Optional(Type.Ref('ClaimTicket'))
  },
  {
    $id: 'CreatedRegistration',
    additionalProperties: false,
    description: 'An App registration with a new credential'
  }
)

export const RegistrationOfSiteSchema = Type.Object(
  { siteId: Type.String({ description: 'Id of its Site', examples: ['acme'] }), ...represented },
  { $id: 'RegistrationOfSite', additionalProperties: false, description: 'An App registration with its Site' }
)

export const RegistrationPageSchema = Type.Object(
  { items: Type.Array(Type.Ref('Registration'), { description: 'App registrations, in order' }), nextCursor },
  { $id: 'RegistrationPage', additionalProperties: false, description: 'A page of App registrations' }
)

export const RegistrationOfSitePageSchema = Type.Object(
  { items: Type.Array(Type.Ref('RegistrationOfSite'), { description: 'App registrations, in order' }), nextCursor },
  {
    $id: 'RegistrationOfSitePage',
    additionalProperties: false,
    description: 'A page of App registrations of all Sites'
  }
)

export const RegistrationParams = Type.Object({ siteId, clientId })

/** The columns of the grid in the admin UI. A listing sorts by any of them. */
export const SORT_COLUMNS = [
  'name',
  'clientId',
  'registeredAt',
  'expiresAt',
  'expiresInDays',
  'state',
  'enabled',
  'lastUsedAt',
  'exchangeCount'
] as const
export type SortColumn = (typeof SORT_COLUMNS)[number]

export const DEFAULT_SORT = 'name'
export const DEFAULT_ORDER = 'asc'

const listing = {
  ...pageQuery,
  sort: Type.Optional(textEnum(SORT_COLUMNS, { default: DEFAULT_SORT, description: 'Column to sort by' })),
  order: Type.Optional(
    textEnum(['asc', 'desc'], { default: DEFAULT_ORDER, description: 'Ascending or descending order' })
  ),
  search: Type.Optional(
    Type.String({
      maxLength: 100,
      pattern: '^[^\\u0000]*$',
      'x-fault': 'must not contain NUL characters',
      description:
        'Part of the name or of the client id, without regard to case and accents. There are no wildcards, and no NUL characters.'
    })
  ),
  state: Type.Optional(textEnum(REGISTRATION_STATES, { description: 'Only registrations in this state' })),
  enabled: Type.Optional(Type.Boolean({ description: 'Only enabled registrations, or only disabled ones' })),
  key: Type.Optional({ ...registrationKey, description: 'Only the registration with this key' }),
  keyed: Type.Optional(Type.Boolean({ description: 'Only registrations with a key, or only those without one' })),
  unusedSince: Type.Optional(
    Type.String({
      ...instant,
      description:
        'Only registrations without an exchange at or after this instant (RFC 3339). One with `mayIntrospect` is among them even while it introspects, because introspections are not recorded.'
    })
  )
}

export const ListQuery = Type.Object(listing, { additionalProperties: false })

export const ListAllQuery = Type.Object(
  {
    ...listing,
    siteId: Type.Optional(Type.String({ ...siteIdPattern, description: 'Only registrations of this Site' }))
  },
  { additionalProperties: false }
)

export type ListInput = Type.Static<typeof ListQuery>
