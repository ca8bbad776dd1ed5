import { Type } from 'typebox'
import { CLIENT_ID_PATTERN } from '../client-id.ts'
import { fieldSchemas } from '../fields.ts'
import { overlapSeconds } from '../rotation/schemas.ts'

const CLAIM_MIN_SECONDS = 300
/** A week: a ticket that waits longer was forgotten. */
const CLAIM_MAX_SECONDS = 7 * 86_400
export const CLAIM_DEFAULT_SECONDS = 86_400

export const CreateClaimSchema = Type.Object(
  {
    expiresInSeconds: Type.Optional(
      Type.Integer({
        minimum: CLAIM_MIN_SECONDS,
        maximum: CLAIM_MAX_SECONDS,
        default: CLAIM_DEFAULT_SECONDS,
        description: 'How long the ticket can be used, in seconds',
        examples: [86_400]
      })
    ),
    overlapSeconds
  },
  { $id: 'CreateClaim', additionalProperties: false, description: 'A claim ticket to create' }
)
export interface ClaimInput {
  expiresInSeconds?: number
  overlapSeconds?: number
}

export const ClaimTicketSchema = Type.Object(
  {
    ticket: Type.String({
      description: 'The ticket. The first to present it gets the Client secret. No other answer has it.',
      examples: ['grantd_claim_0exampleexampleexampleexampleexampleexample0AbCdEf']
    }),
    expiresAt: Type.String({
      format: 'date-time',
      description: 'Instant from which the ticket is refused',
      examples: ['2026-11-24T09:00:00.000Z']
    })
  },
  { $id: 'ClaimTicket', additionalProperties: false, description: 'A one-time right to get a new Client secret' }
)
export type ClaimTicket = Type.Static<typeof ClaimTicketSchema>

export const ClaimedCredentialsSchema = Type.Object(
  {
    clientId: Type.String({ pattern: CLIENT_ID_PATTERN, description: 'Client ID', examples: ['k3v9x2m7q1w8z5t4r6y0'] }),
    clientSecret: Type.String({
      description: 'Client secret. Only this answer has it, and the answer to a retry with the same Idempotency-Key.',
      examples: ['grantd_0exampleexampleexampleexampleexampleexample0AbCdEf']
    }),
    tokenEndpoint: Type.String({
      description: 'URL at which the client exchanges its credentials for a token',
      examples: ['https://grantd.example.com/oauth/token']
    }),
    scopes: fieldSchemas.scopes,
    audiences: fieldSchemas.audiences,
    expiresAt: fieldSchemas.expiresAt
  },
  {
    $id: 'ClaimedCredentials',
    additionalProperties: false,
    description: 'Everything that a client needs to get tokens'
  }
)
export type ClaimedCredentials = Type.Static<typeof ClaimedCredentialsSchema>
