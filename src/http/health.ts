import type { FastifyInstance } from 'fastify'
import fastifyPlugin from 'fastify-plugin'
import { Type } from 'typebox'
import type { Drain } from './drain.ts'
import { textEnum } from './json-schema.ts'
import { Readiness } from './readiness.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** Should this instance receive requests now? */
    isReady: () => Promise<boolean>
  }
}

const Health = Type.Object(
  {
    status: textEnum(['ok', 'unavailable'], {
      description: '`ok`, or `unavailable` while the instance should not receive requests.'
    })
  },
  { $id: 'Health', additionalProperties: false, description: 'State of this instance.', examples: [{ status: 'ok' }] }
)

/** OpenAPI text of an answer. */
function answer(description: string): object {
  return { description, content: { 'application/json': { schema: { $ref: 'Health' } } } }
}

interface HealthOptions {
  drain: Drain
  /** Rejects when requests cannot be served. It must not use a connection that the token endpoint needs. */
  check: () => Promise<unknown>
}

/** `/health/live` says that the process answers, `/health/ready` that it should receive requests. */
export const health = fastifyPlugin(async (app: FastifyInstance, { drain, check }: HealthOptions): Promise<void> => {
  const readiness = new Readiness({
    check,
    onFailure: error => app.log.warn({ err: error }, 'not ready: requests cannot be served now')
  })
  const isReady = async () => drain.takesClients && (await readiness.isReady())
  app.decorate('isReady', isReady)
  app.addSchema(Health)
  app.get(
    '/health/live',
    {
      schema: {
        operationId: 'getLiveness',
        summary: 'Check that the process is alive',
        description: 'Answers while the process runs, even when the database is unavailable.',
        tags: ['Operation'],
        security: [],
        response: { 200: answer('The process is alive.') }
      }
    },
    async () => ({ status: 'ok' })
  )
  app.get(
    '/health/ready',
    {
      schema: {
        operationId: 'getReadiness',
        summary: 'Check that the instance is ready',
        description:
          'Answers 503 while the database is unavailable, while registrations cannot be read, and while the instance shuts down. Requests within 250 ms share one answer.',
        tags: ['Operation'],
        security: [],
        response: {
          200: answer('The instance should receive requests.'),
          503: answer('The instance should not receive requests.')
        }
      }
    },
    async (_request, reply) => {
      if (await isReady()) return { status: 'ok' }
      return reply.code(503).send({ status: 'unavailable' })
    }
  )
})
