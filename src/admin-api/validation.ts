import type { FastifyRequest, FastifySchemaValidationError } from 'fastify'
import { type Fault, notFound, Problem } from '../http/problem.ts'
import { escapePointer } from './json-body.ts'

/** Nothing coerced, nothing dropped, every fault told. */
export const AJV_OPTIONS = { coerceTypes: false, removeAdditional: false, useDefaults: true, allErrors: true } as const

/** A body can have thousands; nobody reads more than these. */
const MAX_FAULTS = 20

/** Fastify's `schemaErrorFormatter`: what the schemas refuse, as a problem that names each fault. */
export function validationProblem(errors: FastifySchemaValidationError[], part: string): Problem {
  // A path that can't name anything is a path to nothing.
  if (part === 'params') return notFound()
  const faults = errors.slice(0, MAX_FAULTS).map(error => (part === 'body' ? bodyFault(error) : queryFault(error)))
  return invalidRequest(faults)
}

export function invalidRequest(faults: readonly Fault[]): Problem {
  return new Problem(400, 'invalid_request', 'The request has faults; "errors" lists them.', { faults })
}

function bodyFault(error: FastifySchemaValidationError): Fault {
  const { code, member, detail } = explain(error)
  return { pointer: error.instancePath + (member === undefined ? '' : `/${escapePointer(member)}`), code, detail }
}

function queryFault(error: FastifySchemaValidationError): Fault {
  const { code, member, detail } = explain(error)
  return {
    parameter: member ?? error.instancePath.slice(1),
    code,
    detail: code === 'unknown_member' ? 'is unknown' : detail
  }
}

function explain({ keyword, params, message }: FastifySchemaValidationError): {
  code: string
  member?: string
  detail: string
} {
  if (keyword === 'additionalProperties') {
    return { code: 'unknown_member', member: String(params['additionalProperty']), detail: 'is unknown or read-only' }
  }
  if (keyword === 'required') {
    return { code: 'required', member: String(params['missingProperty']), detail: 'is required' }
  }
  if (keyword === 'enum' && Array.isArray(params['allowedValues'])) {
    return { code: 'invalid_value', detail: `must be one of ${params['allowedValues'].join(', ')}` }
  }
  return {
    code: keyword === 'type' ? 'wrong_type' : 'invalid_value',
    detail: DETAILS[keyword]?.(params) ?? message ?? 'is not valid'
  }
}

/** For people, where ajv's own words are for those who know JSON Schema. */
const DETAILS: Record<string, (params: Record<string, unknown>) => string | undefined> = {
  type: ({ type }) => `must be ${TYPES[String(type)] ?? type}`,
  format: ({ format }) => (format === 'date-time' ? NOT_AN_INSTANT : undefined),
  uniqueItems: () => 'must hold nothing twice',
  minItems: ({ limit }) => (limit === 1 ? 'must not be empty' : `must hold at least ${limit}`),
  maxItems: ({ limit }) => `must hold at most ${limit}`,
  minProperties: ({ limit }) => (limit === 1 ? 'must have at least one member' : `must have at least ${limit} members`),
  minLength: ({ limit }) => (limit === 1 ? 'must not be empty' : `must have at least ${limit} characters`),
  maxLength: ({ limit }) => `must have at most ${limit} characters`,
  minimum: ({ limit }) => `must be at least ${limit}`,
  maximum: ({ limit }) => `must be at most ${limit}`
}

const TYPES: Record<string, string> = {
  string: 'a string',
  integer: 'an integer',
  boolean: 'true or false',
  object: 'an object',
  array: 'an array'
}

export const NOT_AN_INSTANT = 'must be an RFC 3339 date and time with an offset, such as 2030-01-31T00:00:00Z'

/** `preValidation` hook: where no body is taken, one with members is refused rather than dropped. */
export async function refuseUnaskedBody({ body, routeOptions }: FastifyRequest): Promise<void> {
  if (body === undefined || routeOptions.schema?.body !== undefined) return
  if (typeof body !== 'object' || body === null || Array.isArray(body)) {
    throw invalidRequest([{ pointer: '', code: 'wrong_type', detail: 'must be an object without members, or absent' }])
  }
  const faults = Object.keys(body)
    .slice(0, MAX_FAULTS)
    .map(name => ({ pointer: `/${escapePointer(name)}`, code: 'unknown_member', detail: 'is unknown or read-only' }))
  if (faults.length > 0) throw invalidRequest(faults)
}

/**
 * `preValidation` hook: a query has only text, so what the schema calls an integer or a boolean is read here,
 * from its one canonical spelling. Anything else stays text, and the schema refuses it.
 */
export async function readTypedQuery(request: FastifyRequest): Promise<void> {
  const { query } = request
  if (!isWellEncoded(request.url)) {
    throw new Problem(400, 'invalid_request', 'The query is not well-formed: its escapes are not UTF-8.')
  }
  const properties = querySchema(request)
  if (typeof query !== 'object' || query === null || properties === undefined) return
  const repeated = Object.entries(query).filter(
    ([name, value]) => Array.isArray(value) && Object.hasOwn(properties, name)
  )
  if (repeated.length > 0) {
    throw invalidRequest(
      repeated.map(([parameter]) => ({ parameter, code: 'wrong_type', detail: 'must be given once' }))
    )
  }
  for (const [name, value] of Object.entries(query)) {
    const type = properties[name]?.type
    if (type === 'integer' && /^(0|-?[1-9]\d{0,14})$/.test(value)) Object.assign(query, { [name]: Number(value) })
    if (type === 'boolean' && /^(true|false)$/.test(value)) Object.assign(query, { [name]: value === 'true' })
  }
}

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
