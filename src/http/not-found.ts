import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { setRefused } from './outcome.ts'
import { notFound, Problem, sendProblem } from './problem.ts'

/** Answers for a path whose errors are not problems. @returns false to leave the answer to the default */
export type OnMethodNotAllowed = (path: string, reply: FastifyReply) => boolean

/**
 * Answers requests that match no route: 405 with `Allow` where the path has other methods (RFC 9110 §15.5.6), else 404.
 * Call it before the routes are registered, because it observes them.
 *
 * @returns the same answer, for errors of requests that match no route
 */
export function answerUnrouted(
  app: FastifyInstance,
  onMethodNotAllowed: OnMethodNotAllowed
): (request: FastifyRequest, reply: FastifyReply) => FastifyReply {
  const routes: { pattern: RegExp; methods: Set<string> }[] = []
  app.addHook('onRoute', ({ url, method }) => {
    const pattern = toRegExp(url)
    const known = routes.find(route => route.pattern.source === pattern.source)
    const methods = known?.methods ?? new Set()
    for (const name of [method].flat()) methods.add(name)
    if (known === undefined) routes.push({ pattern, methods })
  })
  const answer = (request: FastifyRequest, reply: FastifyReply): FastifyReply => {
    const [path = ''] = request.url.split('?', 1)
    const route = routes.find(({ pattern }) => pattern.test(path))
    if (route === undefined) return refuse(reply, notFound())
    const allow = [...route.methods].sort().join(', ')
    reply.header('allow', allow)
    if (onMethodNotAllowed(path, reply)) return reply
    return refuse(reply, new Problem(405, 'method_not_allowed', `This path allows ${allow}.`))
  }
  app.setNotFoundHandler(answer)
  return answer
}

function refuse(reply: FastifyReply, problem: Problem): FastifyReply {
  setRefused(reply.request, problem.status, problem.reason)
  return sendProblem(reply, problem)
}

/** Returns `/a/:b` as a regular expression. A wildcard path such as `/docs/*` says nothing about methods. */
function toRegExp(url: string): RegExp {
  return url.includes('*') ? /(?!)/ : new RegExp(`^${url.replaceAll('.', '\\.').replaceAll(/:[A-Za-z]+/g, '[^/]+')}$`)
}
