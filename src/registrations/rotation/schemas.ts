import { Type } from 'typebox'
import { type CredentialInput, credentialInput } from '../credential-schemas.ts'

/** Long enough for the slowest roll-out, short enough that two credentials stay an exception. */
const OVERLAP_MAX_SECONDS = 30 * 86_400
export const OVERLAP_DEFAULT_SECONDS = 86_400

export const overlapSeconds = Type.Optional(
  Type.Integer({
    minimum: 0,
    maximum: OVERLAP_MAX_SECONDS,
    default: OVERLAP_DEFAULT_SECONDS,
    description: 'How long the previous credential is accepted beside the new one, in seconds',
    examples: [86_400]
  })
)

/** The path says "secret" because it is published. A credential of any kind is rotated by it. */
export const RotateSecretSchema = Type.Object(
  {
    overlapSeconds,
    ...credentialInput
  },
  {
    $id: 'RotateSecret',
    additionalProperties: false,
    description:
      'A rotation of the credential. The new one is `publicKey` or `federated`. With neither of them it is a Client secret, which grantd makes.'
  }
)

export interface RotationInput extends CredentialInput {
  overlapSeconds?: number
}
