import type { FastifyInstance } from 'fastify'
import type { Static } from 'typebox'
import { jsonResponse, NoQuery, problemResponses } from '../../admin-api/responses.ts'
import { siteOf } from '../../admin-api/site.ts'
import { notFound } from '../../http/problem.ts'
import { findRegistration } from '../repository.ts'
import { RegistrationParams } from '../schemas.ts'
import { findRefusals } from './repository.ts'
import { representDiagnosis } from './representation.ts'
import { diagnosisSchema } from './schemas.ts'

export interface DiagnosisOptions {
  /** The closed set of reasons for which the token endpoint refuses. */
  refusalReasons: readonly string[]
  /** Milliseconds since the epoch. */
  now: () => number
}

/** Route of the diagnosis of a registration of one Site. Register it where the Site has been checked. */
export async function diagnosisRoutes(app: FastifyInstance, { refusalReasons, now }: DiagnosisOptions): Promise<void> {
  app.addSchema(diagnosisSchema(refusalReasons))

  app.get<{ Params: Static<typeof RegistrationParams> }>(
    '/app-registrations/:clientId/diagnosis',
    {
      schema: {
        operationId: 'diagnoseAppRegistration',
        summary: 'Diagnose an App registration',
        description:
          'Says whether the token endpoint would accept the right credential now, and shows its latest refusals: one of a caller with the right credential, and one of a caller without it. A flood of guesses cannot hide the first one.',
        tags: ['App registrations'],
        params: RegistrationParams,
        querystring: NoQuery,
        response: {
          200: jsonResponse('The diagnosis', 'Diagnosis'),
          ...problemResponses(400, 401, 403, 404, 500, 503)
        }
      }
    },
    async request => {
      const { clientId } = request.params
      const site = siteOf(request)
      const registration = await findRegistration(site, clientId)
      if (registration === undefined) throw notFound()
      return representDiagnosis(registration, await findRefusals(site, clientId), now())
    }
  )
}
