import type { Content, Document, Operation, Response } from './document.ts'
import { answerBreaches, requestBreaches } from './schema-breaches.ts'

/**
 * Returns a sentence for each difference that breaks a client of the document before. A document that only adds
 * operations, optional members of requests, and members and enum values of answers has none.
 */
export function breaches(before: Document, now: Document): string[] {
  const found = Object.entries(before.paths).flatMap(([path, methods]) =>
    Object.entries(methods).flatMap(([method, operation]) => {
      const where = `${method.toUpperCase()} ${path}`
      const changed = now.paths[path]?.[method]
      if (changed === undefined) return [`${where} is gone.`]
      return operationBreaches({ where, before, now }, operation, changed)
    })
  )
  return [...new Set(found)]
}

/** Two documents, and the place in them that a sentence is about. */
export interface Comparison {
  where: string
  before: Document
  now: Document
}

function operationBreaches(comparison: Comparison, before: Operation, now: Operation): string[] {
  const { where } = comparison
  return [
    ...(before.operationId === now.operationId
      ? []
      : [
          `${where} is called ${now.operationId} and no longer ${before.operationId}, which renames a method of clients.`
        ]),
    ...securityBreaches(comparison, before, now),
    ...parameterBreaches(comparison, before, now),
    ...bodyBreaches(comparison, before, now),
    ...Object.entries(before.responses).flatMap(([status, response]) =>
      responseBreaches({ ...comparison, where: `${where} ${status}` }, status, response, now.responses[status])
    )
  ]
}

function securityBreaches({ where, before, now }: Comparison, old: Operation, changed: Operation): string[] {
  const ways = ({ security }: Operation, document: Document) => {
    const all = security ?? document.security ?? []
    return all.length === 0 ? ['nothing'] : all.map(way => Object.keys(way).join(' and ') || 'nothing')
  }
  const taken = ways(changed, now)
  return ways(old, before)
    .filter(way => !taken.includes(way))
    .map(way => `${where} no longer takes ${way} as authentication.`)
}

function parameterBreaches(comparison: Comparison, before: Operation, now: Operation): string[] {
  const { where } = comparison
  const known = before.parameters ?? []
  const taken = now.parameters ?? []
  const find = (all: typeof known, { in: place, name }: (typeof known)[number]) =>
    all.find(other => other.in === place && other.name === name)
  return [
    ...known.flatMap(parameter => {
      const changed = find(taken, parameter)
      const named = `${where} ${parameter.in} parameter ${parameter.name}`
      if (changed === undefined) return [`${named} is gone.`]
      return requestBreaches({ ...comparison, where: named }, parameter.schema, changed.schema)
    }),
    ...taken
      .filter(parameter => parameter.required === true && find(known, parameter)?.required !== true)
      .map(({ name, in: place }) => `${where} requires the ${place} parameter ${name}.`)
  ]
}

function bodyBreaches(
  comparison: Comparison,
  { requestBody: before }: Operation,
  { requestBody: now }: Operation
): string[] {
  const { where } = comparison
  const isNewlyRequired = now?.required === true && before?.required !== true
  if (before === undefined || now === undefined) {
    if (before !== undefined) return [`${where} takes no body any more.`]
    return isNewlyRequired ? [`${where} requires a body.`] : []
  }
  return [
    ...(isNewlyRequired ? [`${where} requires a body.`] : []),
    ...contentBreaches({ ...comparison, where: `The body of ${where}` }, before.content, now.content, requestBreaches)
  ]
}

function responseBreaches(
  comparison: Comparison,
  status: string,
  before: Response,
  now: Response | undefined
): string[] {
  const { where } = comparison
  // An error that no longer occurs breaks no client.
  if (now === undefined) return status.startsWith('2') ? [`${where} is gone.`] : []
  const headers = Object.keys(now.headers ?? {}).map(name => name.toLowerCase())
  return [
    ...Object.keys(before.headers ?? {})
      .filter(name => !headers.includes(name.toLowerCase()))
      .map(name => `${where} has no header ${name} any more.`),
    ...contentBreaches(comparison, before.content ?? {}, now.content ?? {}, answerBreaches)
  ]
}

function contentBreaches(
  comparison: Comparison,
  before: Content,
  now: Content,
  schemaBreaches: typeof requestBreaches
): string[] {
  return Object.entries(before).flatMap(([mediaType, { schema }]) => {
    const changed = now[mediaType]
    if (changed === undefined) return [`${comparison.where} is no longer ${mediaType}.`]
    return schemaBreaches(comparison, schema, changed.schema)
  })
}
