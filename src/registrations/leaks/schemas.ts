import { Type } from 'typebox'
import { textEnum } from '../../http/json-schema.ts'
import type { RegistrationBody } from '../schemas.ts'

const MAX_SECRETS = 100
const SECRET_MAX_LENGTH = 200
const URL_MAX_LENGTH = 500
/** Before the path there is no "@", and no "\\", which readers of URLs take for different things. */
const URL_PATTERN = '^https?://[A-Za-z0-9\\[][!$-.0->A-\\[\\]-~]*([/?#][!-~]*)?$'
const REPORTER_MAX_LENGTH = 64

/** A body of 100 secrets, most of them with a URL. */
export const REPORT_LIMIT_BYTES = 65_536

const secret = Type.String({
  format: 'password',
  maxLength: SECRET_MAX_LENGTH,
  description: 'Text that was found and may be a Client secret'
})

export const SecretReportSchema = Type.Object(
  {
    secrets: Type.Array(
      Type.Object(
        {
          secret,
          url: Type.Optional(
            Type.String({
              maxLength: URL_MAX_LENGTH,
              pattern: URL_PATTERN,
              'x-fault': 'must be an http or https URL without a user name, in visible ASCII characters',
              description:
                'Where it was found: an http or https URL without a user name, in visible ASCII characters. The Site gets it as it is. grantd never opens it.',
              examples: ['https://git.example.com/acme/infrastructure/blob/main/.env#L3']
            })
          ),
          source: Type.Optional(
            Type.String({
              maxLength: REPORTER_MAX_LENGTH,
              pattern: '^[ -~]*$',
              'x-fault': 'must be printable ASCII characters',
              description: 'Name of the reporter or its scanner, in printable ASCII characters',
              examples: ['nightly gitleaks']
            })
          )
        },
        { additionalProperties: false, description: 'A secret that was found' }
      ),
      { minItems: 1, maxItems: MAX_SECRETS, description: 'Secrets that were found' }
    )
  },
  { $id: 'SecretReport', additionalProperties: false, description: 'A report of secrets that have leaked' }
)
export type SecretReport = Type.Static<typeof SecretReportSchema>
export type ReportedSecret = SecretReport['secrets'][number]

export const SecretReportAnswerSchema = Type.Object(
  {
    results: Type.Array(
      Type.Object(
        {
          result: textEnum(['stopped', 'not_live'], {
            description:
              '`stopped`: grantd refuses the secret from now on. `not_live`: grantd accepted no such secret.',
            examples: ['stopped']
          })
        },
        { additionalProperties: false, description: 'The result for a secret' }
      ),
      { description: 'One result for each secret of the report, in its order' }
    )
  },
  { $id: 'SecretReportResults', additionalProperties: false, description: 'The results of a report' }
)
export type SecretReportResult = Type.Static<typeof SecretReportAnswerSchema>['results'][number]['result']

export const SecretLookupSchema = Type.Object(
  {
    secrets: Type.Array(
      Type.Object({ secret }, { additionalProperties: false, description: 'A secret that was found' }),
      { minItems: 1, maxItems: MAX_SECRETS, description: 'Secrets that were found' }
    )
  },
  { $id: 'SecretLookup', additionalProperties: false, description: 'Secrets whose registration is wanted' }
)

export const SecretLookupAnswerSchema = Type.Object(
  {
    results: Type.Array(
      Type.Object(
        {
          isFound: Type.Boolean({ description: 'Whether a registration has this secret', examples: [true] }),
          credential: Type.Optional(
            textEnum(['current', 'previous'], {
              description:
                'Whether it is the current secret of the registration or the one before the latest rotation. It is there when the secret is found.',
              examples: ['current']
            })
          ),
          registration: Type.Optional(Type.Ref('RegistrationOfSite'))
        },
        { additionalProperties: false, description: 'The registration of a secret' }
      ),
      { description: 'One result for each secret, in the order of the request' }
    )
  },
  { $id: 'SecretLookupResults', additionalProperties: false, description: 'The registrations of secrets' }
)

export interface SecretLookupResult {
  isFound: boolean
  credential?: 'current' | 'previous'
  registration?: RegistrationBody & { siteId: string }
}
