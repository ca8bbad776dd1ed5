import type { FastifyRequest, FastifySchemaValidationError } from 'fastify'
import { type Fault, notFound, Problem } from '../http/problem.ts'
import { referenceToken } from './json-body.ts'
import { readQuery } from './query.ts'
import { bodyFault, FAULT_KEYWORD, parameterFault, unknownMember } from './schema-faults.ts'

/**
 * Finds the faults of a body that no schema can find.
 *
 * @param body members of the types that the schema asks for
 */
type RuleFaults = (request: FastifyRequest, body: object) => readonly Fault[] | Promise<readonly Fault[]>

declare module 'fastify' {
  interface FastifyContextConfig {
    /** True when a request without a body is a request with an empty one. */
    isBodyOptional?: boolean
    /** Called when the request has other faults, so that one answer lists all. */
    ruleFaults?: RuleFaults
  }
  interface FastifyRequest {
    /** Faults of the JSON of the body. */
    jsonFaults: readonly Fault[] | undefined
  }
}

/** Nothing is coerced or dropped, and every fault is found. `verbose` gives each fault the schema that it violates. */
export const AJV_OPTIONS = {
  coerceTypes: false,
  removeAdditional: false,
  useDefaults: true,
  allErrors: true,
  verbose: true,
  keywords: [FAULT_KEYWORD]
}

/**
 * `preValidation` hook that lists every fault of a request in one answer: of its JSON, its body, its query, its headers,
 * and those that only the rules of the route can find.
 *
 * @throws Problem 400; 404 for a path that cannot name a resource
 */
export async function validateRequest(request: FastifyRequest): Promise<void> {
  const { config, schema } = request.routeOptions
  if (!isValid(request, 'params', request.params)) throw notFound()
  if (config.isBodyOptional === true && request.body === undefined) request.body = {}
  const { jsonFaults = [] } = request
  const repeated = readQuery(request)
  const ofBody = schema?.body === undefined ? unexpectedMembers(request.body) : bodyFaults(request)
  const faults = [
    ...jsonFaults,
    ...ofBody,
    ...repeated,
    ...parameterFaults(request, 'querystring', request.query),
    ...parameterFaults(request, 'headers', request.headers)
  ]
  if (faults.length === 0) return
  const code = jsonFaults.length > 0 ? 'invalid_json' : 'invalid_request'
  if (faults.length > MAX_FAULTS) throw refusal(code, faults)
  const faulty = new Set(ofBody.filter(isOfMember).map(({ pointer = '' }) => memberOf(pointer)))
  const refused = new Set(ofBody.map(({ pointer }) => pointer))
  const ofRules = (await config.ruleFaults?.(request, soundMembers(request.body, faulty))) ?? []
  const more = ofRules.filter(({ pointer = '' }) => !faulty.has(memberOf(pointer)) && !refused.has(pointer))
  throw refusal(code, distinct([...faults, ...more]))
}

export function invalidRequest(faults: readonly Fault[]): Problem {
  return refusal('invalid_request', faults)
}

/** An answer lists this many faults. When there are more, no further ones are looked for. */
const MAX_FAULTS = 100

function refusal(code: 'invalid_json' | 'invalid_request', faults: readonly Fault[]): Problem {
  const detail =
    faults.length > MAX_FAULTS
      ? `The request has more than ${MAX_FAULTS} faults. "errors" lists the first ${MAX_FAULTS} of them.`
      : 'The request has faults. "errors" lists all of them.'
  return new Problem(400, code, detail, { faults: faults.slice(0, MAX_FAULTS) })
}

type Part = 'params' | 'body' | 'querystring' | 'headers'

/**
 * Returns what the schema refuses, one more than an answer lists at most. Fastify validates the same parts again. This hook
 * has refused everything that it would refuse.
 */
function errorsOf(request: FastifyRequest, part: Part, value: unknown): readonly FastifySchemaValidationError[] {
  const validate = request.getValidationFunction(part)
  return validate === undefined || validate(value) ? [] : (validate.errors ?? []).slice(0, MAX_FAULTS + 1)
}

function isValid(request: FastifyRequest, part: Part, value: unknown): boolean {
  return errorsOf(request, part, value).length === 0
}

function bodyFaults(request: FastifyRequest): Fault[] {
  // JSON that cannot be read has no members to judge.
  if (request.body === undefined && request.jsonFaults !== undefined) return []
  return errorsOf(request, 'body', request.body ?? null).map(bodyFault)
}

function parameterFaults(request: FastifyRequest, part: 'querystring' | 'headers', value: unknown): Fault[] {
  return errorsOf(request, part, value).map(parameterFault)
}

/** Where no body is expected, a body with members is refused rather than dropped. */
function unexpectedMembers(body: unknown): Fault[] {
  if (body === undefined) return []
  if (typeof body !== 'object' || body === null || Array.isArray(body)) {
    return [{ pointer: '', code: 'wrong_type', detail: 'must be an object without members, or absent' }]
  }
  return Object.keys(body).map(unknownMember)
}

/** Returns the members of a body that the rules can judge. @param faulty names of the others, as in a JSON pointer */
function soundMembers(body: unknown, faulty: ReadonlySet<string>): object {
  if (typeof body !== 'object' || body === null || Array.isArray(body)) return {}
  return Object.fromEntries(Object.entries(body).filter(([name]) => !faulty.has(referenceToken(name))))
}

/** Faults within a member that leave it in the shape that its rules expect. */
const SHAPE_KEEPING = new Set(['invalid_value', 'unknown_member'])

/** Whether no rule can judge the member: it is refused as a whole, or something in it is missing or of another type. */
function isOfMember({ pointer = '', code }: Fault): boolean {
  return !SHAPE_KEEPING.has(code) || pointer === `/${memberOf(pointer)}`
}

/** Returns the first reference token of a JSON pointer. */
function memberOf(pointer: string): string {
  return pointer.split('/')[1] ?? ''
}

/** Removes faults that repeat the place and the code of another one. */
function distinct(faults: readonly Fault[]): Fault[] {
  const keyOf = ({ pointer, parameter, code }: Fault) => JSON.stringify([pointer, parameter, code])
  const first = new Map(faults.toReversed().map(fault => [keyOf(fault), fault]))
  return faults.filter(fault => first.get(keyOf(fault)) === fault)
}
