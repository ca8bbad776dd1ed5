import type { FastifyRequest } from 'fastify'
import { type Fault, Problem } from '../http/problem.ts'

/** Deep enough for every body of the API, shallow enough for every recursive reader after this one. */
const MAX_DEPTH = 16

/**
 * Content type parser for `application/json` that reads a body in one way only: UTF-8, no duplicate member names
 * (RFC 8259 §4), no `__proto__`, at most 16 levels. An empty body is no body. Faults go to `request.jsonFaults`.
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

/** @returns the value, undefined when it cannot be read, and every fault */
export function parseJson(bytes: Buffer): { value: unknown; faults: Fault[] } {
  let text: string
  let value: unknown
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
    value = JSON.parse(text)
  } catch {
    // Not the parser's own message: it repeats a piece of the body, which may be a secret.
    return { value: undefined, faults: [{ pointer: '', code: 'not_json', detail: 'is not valid JSON in UTF-8' }] }
  }
  const faults = findFaults(text)
  const isTooDeep = faults.some(({ code }) => code === 'too_deep')
  return { value: isTooDeep ? undefined : value, faults }
}

/** Strings, and the punctuation that opens, closes and separates. */
const TOKENS = /"(?:[^"\\]|\\.)*"|[{}[\],:]/g

interface Level {
  /** Names so far. Undefined in an array. */
  names: Set<string> | undefined
  /** The member or index that is being read. */
  key: string | number
}

/** Finds what `JSON.parse` accepts and grantd does not. @param text JSON that `JSON.parse` has accepted */
function findFaults(text: string): Fault[] {
  const faults: Fault[] = []
  const levels: Level[] = []
  let string = ''
  for (const [token] of text.matchAll(TOKENS)) {
    const level = levels.at(-1)
    if (token === '{' || token === '[') {
      levels.push({ names: token === '{' ? new Set() : undefined, key: 0 })
      if (levels.length > MAX_DEPTH) {
        return [{ pointer: '', code: 'too_deep', detail: `is nested more than ${MAX_DEPTH} levels deep` }]
      }
    } else if (token === '}' || token === ']') {
      levels.pop()
    } else if (token === ',') {
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
  return faults
}

function pointerTo(levels: readonly Level[]): string {
  return levels.map(({ key }) => `/${escapePointer(String(key))}`).join('')
}

/** Returns a reference token of a JSON pointer (RFC 6901 §3). */
export function escapePointer(name: string): string {
  return name.replaceAll('~', '~0').replaceAll('/', '~1')
}
