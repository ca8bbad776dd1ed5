import type { FastifyRequest } from 'fastify'
import { type Fault, Problem } from '../http/problem.ts'

/**
 * Reads the integers and booleans of a query from their one canonical spelling. Any other text stays text, and the schema
 * refuses it. A parameter that is given twice leaves the query.
 *
 * @returns the faults of repeated parameters
 * @throws Problem 400 when the escapes of the URL are not UTF-8, or the parameters are more than any operation has
 */
export function readQuery(request: FastifyRequest): Fault[] {
  if (!isWellEncoded(request.url)) {
    throw new Problem(400, 'invalid_request', 'The percent-encoding of the query is not valid UTF-8.')
  }
  const { query } = request
  const properties = querySchema(request)
  if (typeof query !== 'object' || query === null || properties === undefined) return []
  // Each unknown parameter is a fault, and the URL has room for thousands.
  if (Object.keys(query).length > MAX_PARAMETERS) {
    throw new Problem(400, 'invalid_request', `The query has more than ${MAX_PARAMETERS} parameters.`)
  }
  const faults: Fault[] = []
  for (const [name, value] of Object.entries(query)) {
    if (!Object.hasOwn(properties, name)) continue
    const type = properties[name]?.type
    if (Array.isArray(value)) {
      faults.push({ parameter: name, code: 'wrong_type', detail: 'must be given once' })
      Reflect.deleteProperty(query, name)
    } else if (type === 'integer' && INTEGER.test(value)) Object.assign(query, { [name]: Number(value) })
    else if (type === 'boolean' && BOOLEAN.test(value)) Object.assign(query, { [name]: value === 'true' })
  }
  return faults
}

const MAX_PARAMETERS = 100
const INTEGER = /^(0|-?[1-9]\d{0,14})$/
const BOOLEAN = /^(true|false)$/

function isWellEncoded(url: string): boolean {
  try {
    decodeURIComponent(url)
    return true
  } catch {
    return false
  }
}

function querySchema(request: FastifyRequest): Record<string, { type?: string } | undefined> | undefined {
  const schema: unknown = request.routeOptions.schema?.querystring
  if (typeof schema !== 'object' || schema === null || !('properties' in schema)) return undefined
  const { properties } = schema
  return typeof properties === 'object' && properties !== null ? { ...properties } : undefined
}
