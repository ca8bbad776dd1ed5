import { Type } from 'typebox'
import { IfMatch, IfNoneMatch } from '../../admin-api/if-match.ts'
import { siteId } from '../../admin-api/site.ts'
import { fieldSchemas } from '../fields.ts'
import { IdempotencyKey } from '../idempotency/schemas.ts'
import { newMembers } from '../schemas.ts'
import { anyKey, registrationKey } from './key.ts'

/** `enabled` has no default here, so that an absent one enables nothing that somebody has disabled. */
export const PutRegistrationSchema = Type.Object(
  {
    ...newMembers,
    enabled: Type.Optional({
      ...fieldSchemas.enabled,
      description:
        'When false, the token endpoint refuses the client although everything else is valid. Without this member, a new registration is enabled, and a PUT to a disabled one is 409 `would_enable`.'
    })
  },
  {
    $id: 'PutRegistration',
    additionalProperties: false,
    description:
      'A whole App registration, whose absent members take their defaults. Its credential is `publicKey` or `federated`. With neither of them it is a Client secret, which grantd makes when it creates the registration.'
  }
)

export const KeyParams = Type.Object({ siteId, key: registrationKey })

/** A PUT says what is wrong with its key. To other requests, a key that cannot exist is one that does not. */
export const PutKeyParams = Type.Object({ siteId, key: anyKey })

export const PutQuery = Type.Object(
  {
    allowShorter: Type.Optional(
      Type.Boolean({
        default: false,
        description: 'Whether `expiresAt` may move back. Otherwise that is 409 `would_shorten`.'
      })
    ),
    dryRun: Type.Optional(
      Type.Boolean({
        default: false,
        description:
          'When true, nothing is stored. The answer is the same problem, or 200 with the registration as it would be. The client id of a registration that would be created is an example.'
      })
    )
  },
  { additionalProperties: false }
)

export const PutHeaders = Type.Object({
  ...IfMatch.properties,
  ...IfNoneMatch.properties,
  ...IdempotencyKey.properties
})
