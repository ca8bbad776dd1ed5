import type { FastifyRequest } from 'fastify'
import { type Fault, Problem } from '../http/problem.ts'

/** Deep enough for any honest body, shallow enough for every recursive reader after this one. */
const MAX_DEPTH = 16

/**
 * Content type parser for `application/json` that reads a body one way only: UTF-8, no duplicate member names
 * (RFC 8259 §4), no `__proto__`, at most 16 levels. An empty body is no body.
 *
 * @throws Problem 400, or 415 for another charset
 */
export async function parseJsonBody(request: FastifyRequest, body: Buffer): Promise<unknown> {
  const charset = /;\s*charset\s*=\s*"?([^";\s]+)/i.exec(request.headers['content-type'] ?? '')?.[1]
  if (charset !== undefined && !/^utf-?8$/i.test(charset)) {
    throw new Problem(415, 'unsupported_media_type', 'The body must be application/json in UTF-8.')
  }
  return body.length === 0 ? undefined : parseJson(body)
}

/** @throws Problem 400 */
export function parseJson(bytes: Buffer): unknown {
  let text: string
  let value: unknown
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
    value = JSON.parse(text)
  } catch {
    // Not the parser's own message: it repeats a piece of the body, which may be a secret.
    throw malformed({ pointer: '', code: 'not_json', detail: 'is not valid JSON in UTF-8' })
  }
  const fault = findFault(text)
  if (fault !== undefined) throw malformed(fault)
  return value
}

function malformed(fault: Fault): Problem {
  return new Problem(400, 'invalid_json', 'The body is not acceptable JSON.', { faults: [fault] })
}

/** Strings, and the punctuation that opens, closes and separates. */
const TOKENS = /"(?:[^"\\]|\\.)*"|[{}[\],:]/g

interface Level {
  /** Names seen so far; undefined in an array. */
  names: Set<string> | undefined
  /** The member or index being read. */
  key: string | number
}

/** What `JSON.parse` lets pass, in a text that it has accepted. */
function findFault(text: string): Fault | undefined {
  const levels: Level[] = []
  let string = ''
  for (const [token] of text.matchAll(TOKENS)) {
    const level = levels.at(-1)
    if (token === '{' || token === '[') {
      levels.push({ names: token === '{' ? new Set() : undefined, key: 0 })
      if (levels.length > MAX_DEPTH) {
        return { pointer: '', code: 'too_deep', detail: `is nested more than ${MAX_DEPTH} levels deep` }
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
      if (level.names.has(name))
        return { pointer: pointerTo(levels), code: 'duplicate_member', detail: 'is there twice' }
      if (name === '__proto__') return { pointer: pointerTo(levels), code: 'unknown_member', detail: 'is not allowed' }
      level.names.add(name)
    }
  }
  return undefined
}

function pointerTo(levels: readonly Level[]): string {
  return levels.map(({ key }) => `/${escapePointer(String(key))}`).join('')
}

/** A reference token of a JSON pointer (RFC 6901 §3). */
export function escapePointer(name: string): string {
  return name.replaceAll('~', '~0').replaceAll('/', '~1')
}
