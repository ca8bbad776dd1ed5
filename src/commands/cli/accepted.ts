import { type Answer, listIn, refusal } from './answer.ts'
import type { Operation } from './description.ts'

/**
 * Returns the answer when it is one that openapi.yaml declares for the success of the operation.
 *
 * Members are not checked one by one: grantd may be older or newer than openapi.yaml, and its answer may be the only one
 * with a secret.
 *
 * @throws Error that shows the refusal, or says that this is no answer of grantd
 */
export async function accepted(operation: Operation, answered: Promise<Answer>): Promise<Answer> {
  const answer = await answered
  const mediaTypes = operation.successes[answer.status]
  if (mediaTypes === undefined && answer.status >= 300) throw new Error(refusal(answer))
  const fault = mediaTypes === undefined ? `status ${answer.status}` : bodyFault(operation, mediaTypes, answer)
  if (fault === undefined) return answer
  throw new Error(`grantd does not answer ${operation.id} with ${fault}. GRANTD_URL may name another service`)
}

function bodyFault({ answer: schema }: Operation, mediaTypes: readonly string[], answer: Answer): string | undefined {
  if (mediaTypes.length === 0) return answer.body === '' ? undefined : 'a body'
  const [mediaType = ''] = (answer.headers.get('content-type') ?? '').split(';')
  if (!mediaTypes.includes(mediaType.trim().toLowerCase())) return mediaType || 'a body without a media type'
  if (schema === undefined) return undefined
  const members = Object.keys(Object(answer.body))
  const list = listIn(schema)
  if (list !== undefined) return Array.isArray(Object(answer.body)[list.name]) ? undefined : `no "${list.name}"`
  const isLike = members.some(name => name in (schema.properties ?? {}))
  return isLike ? undefined : 'this JSON'
}
