import { Type } from 'typebox'
import { nullable, textEnum } from '../../http/json-schema.ts'

export type DiagnosisBody = Type.Static<ReturnType<typeof diagnosisSchema>>

/** Makes the schema of a diagnosis. @param refusalReasons reasons of the token endpoint */
export function diagnosisSchema(refusalReasons: readonly string[]) {
  const refusal = Type.Object(
    {
      at: Type.String({
        format: 'date-time',
        description: 'Instant of the latest refusal',
        examples: ['2026-11-23T09:05:12.345Z']
      }),
      reason: Type.String({
        description: `Why the token endpoint refused it, as in the log: ${refusalReasons.join(', ')}. Later versions may add reasons.`,
        examples: ['scope_not_allowed']
      }),
      source: Type.String({ description: 'Address that the request came from', examples: ['198.51.100.7'] }),
      count: Type.Integer({
        minimum: 1,
        description: 'Number of refusals in this slot, for whatever reason. It starts again after 30 days without one.',
        examples: [3]
      })
    },
    { additionalProperties: false, description: 'The latest refused token request of its kind' }
  )
  return Type.Object(
    {
      wouldSucceed: Type.Boolean({
        description:
          'Whether the token endpoint would accept the right credential now. It does not cover rates: a client that sends too many failures or assertions gets 429 meanwhile.',
        examples: [false]
      }),
      reasons: Type.Array(
        Type.Object(
          {
            code: textEnum(['unclaimed', 'disabled', 'expired'], {
              description: 'Why it would not',
              examples: ['expired']
            }),
            detail: Type.String({
              description: 'Explanation and cure, for people. The text may change.',
              examples: ['The registration has expired. Move `expiresAt` forward.']
            }),
            since: Type.Optional(
              Type.String({
                format: 'date-time',
                description: 'Instant from which this holds, where it is known',
                examples: ['2026-11-23T09:00:00.000Z']
              })
            )
          },
          {
            additionalProperties: false,
            description: 'A reason for which the token endpoint refuses the right credential'
          }
        ),
        { description: 'Every reason for which it would not. The list is empty when it would.' }
      ),
      refusals: Type.Object(
        {
          withCredential: nullable({
            ...refusal,
            description:
              'The latest refusal of a caller that presented a credential of this registration, also one that was rotated away or retired. It is null when there was none in 30 days.'
          }),
          withoutCredential: nullable({
            ...refusal,
            description:
              'The latest refusal of a caller that named this client id without proving to be it. Anybody can cause it. It is null when there was none in 30 days.'
          })
        },
        {
          additionalProperties: false,
          description: 'The latest refused token requests. A refusal shows here within 10 seconds.'
        }
      )
    },
    { $id: 'Diagnosis', additionalProperties: false, description: 'Why the token endpoint refuses a client' }
  )
}
