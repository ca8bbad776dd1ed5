import type { FastifyError, FastifyInstance } from 'fastify'
import fastifyPlugin from 'fastify-plugin'
import { AmbiguousHost, addCommonHooks } from './common-hooks.ts'
import type { Drain } from './drain.ts'
import { answerUnrouted, type OnMethodNotAllowed } from './not-found.ts'
import { recordOutcomes } from './outcome.ts'
import { limitPipelining } from './pipelining-limit.ts'
import { ProblemSchema, problemErrorHandler } from './problem.ts'
import { observeRequestEnds } from './request-end.ts'
import { logRequests } from './request-log.ts'
import { recordSources } from './source.ts'
import { limitUnreadBodies } from './unread-body.ts'

interface RequestHandlingOptions {
  drain: Drain
  /** Answers a method that a path does not have, where the errors of that path are not problems. */
  onMethodNotAllowed: OnMethodNotAllowed
}

/** Everything that all requests share: limits, common headers, the log line, and answers to errors. Register it first. */
export const requestHandling = fastifyPlugin(
  async (app: FastifyInstance, { drain, onMethodNotAllowed }: RequestHandlingOptions): Promise<void> => {
    observeRequestEnds(app)
    limitPipelining(app)
    recordSources(app)
    recordOutcomes(app)
    logRequests(app)
    drain.watch(app)
    limitUnreadBodies(app)
    addCommonHooks(app)
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
