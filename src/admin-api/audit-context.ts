import type { FastifyRequest } from 'fastify'
import { sourceOf } from '../http/source.ts'

/** The sender of a request, as an audit event records it. */
export interface AuditContext {
  /** `sub` of the administrator's token, or what stands in for an administrator, such as `claim`. */
  actor: string
  /** `iss` of that token, or of grantd itself. */
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

/**
 * Returns who sent a request that no administrator sends.
 *
 * @param actor what gives the right to the change, such as `claim`
 * @param issuer of grantd itself
 */
export function publicContextOf(request: FastifyRequest, actor: string, issuer: string): AuditContext {
  return { actor, issuer, requestId: request.id, source: sourceOf(request) }
}
