import type { FastifyRequest } from 'fastify'
import { sourceOf } from '../http/source.ts'

/** The sender of a request, as an audit event records it. */
export interface AuditContext {
  /** `sub` of the administrator's token. */
  actor: string
  /** `iss` of that token. */
  issuer: string
  requestId: string
  /** Address that the request came from. */
  source: string
}

/** Returns who sent this request of the admin API. */
export function auditContextOf(request: FastifyRequest): AuditContext {
  const { administrator } = request
  if (administrator === undefined) throw new Error('this request is not authenticated as an administrator')
  return {
    actor: administrator.subject,
    issuer: administrator.issuer,
    requestId: request.id,
    source: sourceOf(request)
  }
}
