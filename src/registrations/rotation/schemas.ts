import { Type } from 'typebox'

/** Long enough for the slowest roll-out, short enough that two secrets stay an exception. */
const OVERLAP_MAX_SECONDS = 30 * 86_400
export const OVERLAP_DEFAULT_SECONDS = 86_400

export const RotateSecretSchema = Type.Object(
  {
    overlapSeconds: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: OVERLAP_MAX_SECONDS,
        default: OVERLAP_DEFAULT_SECONDS,
        description: 'How long the previous secret is accepted beside the new one, in seconds',
        examples: [86_400]
      })
    )
  },
  { $id: 'RotateSecret', additionalProperties: false, description: 'A rotation of the Client secret' }
)
