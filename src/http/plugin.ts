import type { FastifyError, FastifyInstance } from 'fastify'
import fastifyPlugin from 'fastify-plugin'
import { AmbiguousHost, addCommonHooks } from './common-hooks.ts'
import { limitConnections } from './connection-limit.ts'
import type { Drain } from './drain.ts'
import { answerUnrouted, type OnMethodNotAllowed } from './not-found.ts'
import { recordOutcomes } from './outcome.ts'
import { ProblemSchema, problemErrorHandler } from './problem.ts'
import { logRequests } from './request-log.ts'
import { limitUnreadBodies } from './unread-body.ts'

interface RequestHandlingOptions {
  drain: Drain
  /** Connections that may be open at once. */
  maxConnections: number
  /** Answers a method that a path does not have, where the errors of that path are not problems. */
  onMethodNotAllowed: OnMethodNotAllowed
}

/** Everything that all requests share: limits, common headers, the log line, and answers to errors. Register it first. */
export const requestHandling = fastifyPlugin(
  async (
    app: FastifyInstance,
    { drain, maxConnections, onMethodNotAllowed }: RequestHandlingOptions
  ): Promise<void> => {
    drain.watch(app)
    limitConnections(app, maxConnections)
    limitUnreadBodies(app)
    addCommonHooks(app)
    recordOutcomes(app)
    logRequests(app)
    app.addSchema(ProblemSchema)
    const answer = answerUnrouted(app, onMethodNotAllowed)
    app.setErrorHandler<FastifyError>((error, request, reply) =>
      request.is404 && !(error instanceof AmbiguousHost)
        ? answer(request, reply)
        : problemErrorHandler(error, request, reply)
    )
  },
  { name: 'request-handling' }
)
