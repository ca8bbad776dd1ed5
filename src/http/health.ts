import type { FastifyInstance } from 'fastify'
import { Type } from 'typebox'
import { textEnum } from './json-schema.ts'

const Health = Type.Object(
  { status: textEnum(['ok', 'unavailable'], { description: 'ok, or unavailable while it should get no requests' }) },
  { $id: 'Health', additionalProperties: false, description: 'State of this instance', examples: [{ status: 'ok' }] }
)

interface HealthOptions {
  /** Can this instance do its work now? */
  isReady: () => Promise<boolean>
}

/** `/health/live`: the process answers. `/health/ready`: it should get requests. */
export async function health(app: FastifyInstance, { isReady }: HealthOptions): Promise<void> {
  app.addSchema(Health)
  app.get(
    '/health/live',
    {
      schema: {
        operationId: 'getLiveness',
        summary: 'Is the process alive?',
        tags: ['Operation'],
        security: [],
        response: { 200: Type.Ref('Health') }
      }
    },
    async () => ({ status: 'ok' })
  )
  app.get(
    '/health/ready',
    {
      schema: {
        operationId: 'getReadiness',
        summary: 'Should this instance get requests?',
        description: 'Asks the database. 503 while that does not answer and while the instance shuts down.',
        tags: ['Operation'],
        security: [],
        response: { 200: Type.Ref('Health'), 503: Type.Ref('Health') }
      }
    },
    async (_request, reply) => {
      if (await isReady()) return { status: 'ok' }
      return reply.code(503).send({ status: 'unavailable' })
    }
  )
}
