import type { FastifyRequest } from 'fastify'
import { type Fault, Problem } from '../http/problem.ts'

/** Deep enough for every body of the API, shallow enough for every recursive reader after this one. */
const MAX_DEPTH = 16
/** Room for twice the members and items of the longest body of the API, a report of 100 secrets. */
const MAX_VALUES = 1_000

/**
 * Content type parser for `application/json` that reads a body in one way only: UTF-8, no duplicate member names
 * (RFC 8259 §4), no `__proto__`, at most 16 levels and 1,000 values. An empty body is no body. Faults go to
 * `request.jsonFaults`.
 *
 * @throws Problem 415 for another charset
 */
export async function parseJsonBody(request: FastifyRequest, body: Buffer): Promise<unknown> {
  const charset = /;\s*charset\s*=\s*"?([^";\s]+)/i.exec(request.headers['content-type'] ?? '')?.[1]
  if (charset !== undefined && !/^utf-?8$/i.test(charset)) {
    throw new Problem(415, 'unsupported_media_type', 'The body must be application/json in UTF-8.')
  }
  if (body.length === 0) return undefined
  const { value, faults } = parseJson(body)
  request.jsonFaults = faults
  return value
}

/**
 * Reads JSON. A text beyond the bounds is not parsed, so that no body costs more than an honest one and no later reader
 * has more than 1,000 faults to find.
 *
 * @returns the value, undefined when it cannot be read, and every fault
 */
export function parseJson(bytes: Buffer): { value: unknown; faults: Fault[] } {
  try {
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
    const { excess, faults } = scan(text)
    if (excess !== undefined) return { value: undefined, faults: [excess] }
    return { value: JSON.parse(text), faults }
  } catch {
    // Not the parser's own message: it repeats a piece of the body, which may be a secret.
    return { value: undefined, faults: [{ pointer: '', code: 'not_json', detail: 'is not valid JSON in UTF-8' }] }
  }
}

/**
 * Strings, and the punctuation that opens, closes and separates. A string that does not end is a token too: a search
 * for its end from each of its quotes would take quadratic time.
 */
const TOKENS = /"(?:[^"\\]|\\.)*"?|[{}[\],:]/g

interface Level {
  /** Names so far. Undefined in an array. */
  names: Set<string> | undefined
  /** The member or index that is being read. */
  key: string | number
}

/**
 * Finds what `JSON.parse` accepts and grantd does not, and stops at a bound that is exceeded.
 *
 * @param text any text. The faults mean something when it is JSON
 * @throws SyntaxError when a name is not JSON
 */
function scan(text: string): { excess?: Fault; faults: Fault[] } {
  const faults: Fault[] = []
  const levels: Level[] = []
  let values = 0
  let string = ''
  for (const [token] of text.matchAll(TOKENS)) {
    const level = levels.at(-1)
    if (token === '{' || token === '[') {
      levels.push({ names: token === '{' ? new Set() : undefined, key: 0 })
      if (levels.length > MAX_DEPTH) return { excess: TOO_DEEP, faults }
      if (++values > MAX_VALUES) return { excess: TOO_MANY_VALUES, faults }
    } else if (token === '}' || token === ']') {
      levels.pop()
    } else if (token === ',') {
      if (++values > MAX_VALUES) return { excess: TOO_MANY_VALUES, faults }
      if (level !== undefined && typeof level.key === 'number') level.key++
    } else if (token !== ':') {
      string = token
    } else if (level?.names !== undefined) {
      const name: string = JSON.parse(string)
      level.key = name
      if (level.names.has(name)) {
        faults.push({ pointer: pointerTo(levels), code: 'duplicate_member', detail: 'is given more than once' })
      }
      if (name === '__proto__') {
        faults.push({ pointer: pointerTo(levels), code: 'unknown_member', detail: 'is not allowed' })
      }
      level.names.add(name)
    }
  }
  return { faults }
}

const TOO_DEEP: Fault = { pointer: '', code: 'too_deep', detail: `is nested more than ${MAX_DEPTH} levels deep` }
const TOO_MANY_VALUES: Fault = {
  pointer: '',
  code: 'too_many_values',
  detail: `has more than ${MAX_VALUES} members and items`
}

function pointerTo(levels: readonly Level[]): string {
  return levels.map(({ key }) => `/${referenceToken(String(key))}`).join('')
}

/** Returns a reference token of a JSON pointer (RFC 6901 §3), cut where no name of the API is as long. */
export function referenceToken(name: string): string {
  return shortened(name).replaceAll('~', '~0').replaceAll('/', '~1')
}

const LONGEST_NAME = 32

/** Returns a name as an answer may repeat it. A longer one than the API has may be a secret in the wrong place. */
export function shortened(name: string): string {
  return name.length > LONGEST_NAME ? `${name.slice(0, LONGEST_NAME)}...` : name
}
