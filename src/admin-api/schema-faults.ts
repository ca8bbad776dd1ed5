import type { FastifySchemaValidationError } from 'fastify'
import type { Fault } from '../http/problem.ts'
import { referenceToken, shortened } from './json-body.ts'

/** Returns what a schema refuses in a body, with the JSON pointer to it. */
export function bodyFault(error: FastifySchemaValidationError): Fault {
  const { code, member, detail } = explain(error)
  return { pointer: error.instancePath + (member === undefined ? '' : `/${referenceToken(member)}`), code, detail }
}

/** Returns what a schema refuses in a query or in the headers, with the name of the parameter. */
export function parameterFault(error: FastifySchemaValidationError): Fault {
  const { code, member, detail } = explain(error)
  return {
    parameter: shortened(member ?? error.instancePath.slice(1)),
    code,
    detail: code === 'unknown_member' ? 'is unknown' : detail
  }
}

/** Returns the fault of a member that the API does not have, or that only grantd sets. */
export function unknownMember(name: string): Fault {
  return { pointer: `/${referenceToken(name)}`, code: 'unknown_member', detail: UNKNOWN_MEMBER }
}

const UNKNOWN_MEMBER = 'is unknown or read-only'
export const NOT_AN_INSTANT = 'must be an RFC 3339 date and time with an offset, such as 2030-01-31T00:00:00Z'

interface Explanation {
  code: string
  member?: string
  detail: string
}

function explain(error: FastifySchemaValidationError): Explanation {
  const { keyword, params, message } = error
  if (keyword === 'additionalProperties') {
    return { code: 'unknown_member', member: String(params['additionalProperty']), detail: UNKNOWN_MEMBER }
  }
  if (keyword === 'required') {
    return { code: 'required', member: String(params['missingProperty']), detail: 'is required' }
  }
  if (keyword === 'enum' && Array.isArray(params['allowedValues'])) {
    return { code: 'invalid_value', detail: `must be one of ${params['allowedValues'].join(', ')}` }
  }
  if (keyword === 'pattern') {
    return { code: 'invalid_value', detail: formFault(error) }
  }
  return {
    code: keyword === 'type' ? 'wrong_type' : 'invalid_value',
    detail: DETAILS[keyword]?.(params) ?? message ?? 'is not valid'
  }
}

/** The schema keyword that says in words what the `pattern` beside it demands. */
export const FAULT_KEYWORD = 'x-fault'

function formFault(error: object): string {
  const schema = 'parentSchema' in error ? error.parentSchema : undefined
  const isWorded = typeof schema === 'object' && schema !== null && FAULT_KEYWORD in schema
  return isWorded ? String(schema[FAULT_KEYWORD]) : 'does not have the required form'
}

/** Sentences for people. The messages of ajv are for those who know JSON Schema. */
const DETAILS: Record<string, (params: Record<string, unknown>) => string | undefined> = {
  type: ({ type }) => `must be ${TYPES[String(type)] ?? type}`,
  format: ({ format }) => (format === 'date-time' ? NOT_AN_INSTANT : undefined),
  uniqueItems: () => 'must not contain duplicates',
  minItems: ({ limit }) => (limit === 1 ? 'must not be empty' : `must have at least ${limit} items`),
  maxItems: ({ limit }) => `must have at most ${limit} items`,
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
