import type { FastifyInstance } from 'fastify'
import { publicEndpoints } from '../admin-api/endpoint-scope.ts'
import { Semaphore } from '../concurrency/semaphore.ts'
import { CLAIMS_PATH, claimRoutes, claimTicketRoutes } from './claims/routes.ts'
import type { ClaimOptions } from './claims/service.ts'
import { type DiagnosisOptions, diagnosisRoutes } from './diagnosis/routes.ts'
import { keyedRegistrationRoutes } from './keyed/routes.ts'
import type { SecretReportOptions } from './leaks/report.ts'
import { REPORTS_PATH, secretLookupRoutes, secretReportRoutes } from './leaks/routes.ts'
import { PUBLIC_REQUESTS } from './public-requests.ts'
import { rotationRoutes } from './rotation/routes.ts'
import { allRegistrationRoutes, type RegistrationRoutesOptions, siteRegistrationRoutes } from './routes.ts'
import { tokenRevocationRoutes } from './token-revocation/routes.ts'

/** Paths of the endpoints that anybody can call. */
export const PUBLIC_PATHS = [CLAIMS_PATH, REPORTS_PATH]

/** Options of the routes of all rooms of registrations. */
export interface RegistrationRoomsOptions
  extends Omit<RegistrationRoutesOptions, 'macKeys'>,
    Omit<ClaimOptions, 'macKeys' | 'gate'>,
    Pick<SecretReportOptions, 'macKeys'>,
    DiagnosisOptions {
  issuer: string
}

/** Routes of the registrations of one Site. Register them where the Site has been checked. */
export async function siteRegistrations(scope: FastifyInstance, options: RegistrationRoomsOptions): Promise<void> {
  await siteRegistrationRoutes(scope, options)
  await keyedRegistrationRoutes(scope, options)
  await rotationRoutes(scope, options)
  await tokenRevocationRoutes(scope, options)
  await claimTicketRoutes(scope, options)
  await diagnosisRoutes(scope, options)
}

/** Routes of the registrations of all Sites. Register them where only Global Administrators come. */
export async function allRegistrations(scope: FastifyInstance, options: RegistrationRoomsOptions): Promise<void> {
  await allRegistrationRoutes(scope, options)
  await secretLookupRoutes(scope, options)
}

/** Endpoints of /v1 that anybody can call: a ticket or a secret is the right to it. All of them share one gate. */
export async function publicRegistrations(app: FastifyInstance, options: RegistrationRoomsOptions): Promise<void> {
  const ofAnybody = { ...options, gate: new Semaphore(PUBLIC_REQUESTS) }
  await publicEndpoints(app, {
    routes: async scope => {
      await claimRoutes(scope, ofAnybody)
      await secretReportRoutes(scope, ofAnybody)
    }
  })
}
