import type { FastifyInstance, FastifyRequest } from 'fastify'

declare module 'fastify' {
  interface FastifyRequest {
    /** The authenticated caller, or the client that the request names. The log line shows it. */
    caller: Caller | undefined
    /** How the request ended. Undefined until that is decided, and for a request that succeeded without more to say. */
    outcome: Outcome | undefined
  }
}

/** Identifiers that are safe to log. */
export type Caller = { readonly clientId: string } | { readonly administrator: string }

/**
 * How a request ended. The request log and the request metrics both read it, so neither depends on the other.
 *
 * `reason` comes from a closed set of the room that refuses. It never holds input.
 */
export type Outcome =
  | { readonly result: 'issued' | 'active' | 'revoked' }
  | {
      /** `inactive` is a token that is not valid. `failed` is a fault of grantd or its database. */
      readonly result: 'refused' | 'failed' | 'inactive'
      readonly reason: string
      /** The fault of the request itself, when it was refused because too many before it had failed. */
      readonly failure?: string | undefined
    }

/** Lets requests carry their caller and outcome. Call it before the routes are registered. */
export function recordOutcomes(app: FastifyInstance): void {
  app.decorateRequest('caller', undefined)
  app.decorateRequest('outcome', undefined)
}

/** Records how a request ended. The first outcome stays: an error while its answer is sent does not change the decision. */
export function setOutcome(request: FastifyRequest, outcome: Outcome): void {
  request.outcome ??= outcome
}

/** Records an answer with an error status: `failed` for a fault of grantd or its database, else `refused`. */
export function setRefused(request: FastifyRequest, status: number, reason: string, failure?: string): void {
  // A caller that hung up before its request was complete is not refused for what is missing.
  const hungUp = request.raw.destroyed && !request.raw.complete
  setOutcome(request, { result: status >= 500 ? 'failed' : 'refused', reason: hungUp ? 'aborted' : reason, failure })
}
