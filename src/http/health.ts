import type { FastifyInstance } from 'fastify'
import { Type } from 'typebox'
import { textEnum } from './json-schema.ts'

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
  /** Can this instance serve requests now? */
  isReady: () => Promise<boolean>
}

/** `/health/live` says that the process answers, `/health/ready` that it should receive requests. */
export async function health(app: FastifyInstance, { isReady }: HealthOptions): Promise<void> {
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
        description: 'Answers 503 while the database is unavailable and while the instance shuts down.',
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
}
