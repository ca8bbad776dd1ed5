import type { FastifyInstance } from 'fastify'
import type { Static } from 'typebox'
import { publicContextOf } from '../../admin-api/audit-context.ts'
import { jsonResponse, NoQuery, problemResponses } from '../../admin-api/responses.ts'
import { ADMIN_PREFIX, sitesOf } from '../../admin-api/site.ts'
import { representRegistration } from '../representation.ts'
import { findSecrets } from './find.ts'
import { type SecretReportOptions, stopLeakedSecrets } from './report.ts'
import { findRegistrations } from './repository.ts'
import {
  REPORT_LIMIT_BYTES,
  SecretLookupAnswerSchema,
  type SecretLookupResult,
  SecretLookupSchema,
  type SecretReport,
  SecretReportAnswerSchema,
  SecretReportSchema
} from './schemas.ts'

const REPORTS = '/secret-reports'
export const REPORTS_PATH = `${ADMIN_PREFIX}${REPORTS}`

const tags = ['Leaked secrets']

/** Serves reports of leaked secrets. Anybody may call it, because possession is the proof. */
export async function secretReportRoutes(
  app: FastifyInstance,
  options: SecretReportOptions & { issuer: string }
): Promise<void> {
  app.addSchema(SecretReportSchema)
  app.addSchema(SecretReportAnswerSchema)

  app.post<{ Body: SecretReport }>(
    REPORTS,
    {
      bodyLimit: REPORT_LIMIT_BYTES,
      schema: {
        operationId: 'reportSecrets',
        summary: 'Report leaked Client secrets',
        description:
          'Stops secrets that were found in the open. Anybody may call it: possession is the proof. A current secret never works again, and its registration is disabled. A previous secret is retired. The Site gets a notice with the URL. The answer does not say whose a secret was.',
        tags,
        security: [],
        querystring: NoQuery,
        body: { $ref: 'SecretReport' },
        response: {
          200: jsonResponse('The result for each secret', 'SecretReportResults'),
          ...problemResponses(400, 413, 415, 500, 503)
        }
      }
    },
    async request => {
      const context = publicContextOf(request, 'secret report', options.issuer)
      const results = await stopLeakedSecrets(options, request.body.secrets, context)
      return { results: results.map(result => ({ result })) }
    }
  )
}

/** Adds the look-up of secrets. Register it where only Global Administrators come. */
export async function secretLookupRoutes(
  app: FastifyInstance,
  { macKeys, now }: Pick<SecretReportOptions, 'macKeys' | 'now'>
): Promise<void> {
  app.addSchema(SecretLookupSchema)
  app.addSchema(SecretLookupAnswerSchema)

  app.post<{ Body: Static<typeof SecretLookupSchema> }>(
    '/secret-lookups',
    {
      schema: {
        operationId: 'lookUpSecrets',
        summary: 'Find the App registrations of Client secrets',
        description:
          'Tells a Global Administrator which registration a secret that was found belongs to. It changes nothing: report the secret to stop it.',
        tags,
        querystring: NoQuery,
        body: { $ref: 'SecretLookup' },
        response: {
          200: jsonResponse('The registration of each secret', 'SecretLookupResults'),
          ...problemResponses(400, 401, 403, 413, 415, 500, 503)
        }
      }
    },
    async request => {
      const { db } = sitesOf(request)
      const matches = await findSecrets(
        db,
        macKeys,
        request.body.secrets.map(({ secret }) => secret)
      )
      const clientIds = matches.flatMap(match => match?.client_id ?? [])
      const rows = new Map((await findRegistrations(db, clientIds)).map(row => [row.client_id, row]))
      const at = now()
      const results = matches.map((match): SecretLookupResult => {
        const row = match && rows.get(match.client_id)
        if (match === undefined || row === undefined) return { isFound: false }
        return {
          isFound: true,
          credential: match.credential,
          registration: { siteId: row.site_id, ...representRegistration(row, at) }
        }
      })
      return { results }
    }
  )
}
