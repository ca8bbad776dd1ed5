import { Type } from 'typebox'

export const TokenCutOffSchema = Type.Object(
  {
    tokensValidFrom: Type.String({
      format: 'date-time',
      description:
        'Access tokens of this registration that were issued before this instant are not active. It is a whole second, as `iat` is, by the clock of the database.',
      examples: ['2026-11-23T09:05:13.000Z']
    })
  },
  {
    $id: 'TokenCutOff',
    additionalProperties: false,
    description: 'The instant from which access tokens of a registration are active'
  }
)
