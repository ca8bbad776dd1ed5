import type { Schema } from './description.ts'

/** An answer of grantd. */
export interface Answer {
  status: number
  headers: Headers
  /** JSON as it was parsed, or text. */
  body: unknown
}

/** Returns a JSON value, or text, to print. */
export function printed(body: unknown): string {
  return typeof body === 'string' ? visible(body.trimEnd()) : escaped(JSON.stringify(body, null, 2))
}

/**
 * Returns the refusal of grantd for a person: status, code, and each fault with its member.
 * Knows problems (RFC 9457) and errors of OAuth (RFC 6749 §5.2).
 */
export function refusal({ status, headers, body }: Answer): string {
  const { code, detail, error, error_description: description, errors }: Refusal = Object(body)
  const isOfGrantd = detail !== undefined || description !== undefined
  const shown = typeof body === 'string' ? body : JSON.stringify(body)
  const faults = (errors ?? []).map(({ pointer, parameter, detail }) => `  ${pointer ?? parameter}: ${detail}`)
  const retryAfter = headers.get('retry-after')
  return visible(
    [
      `${status} ${code ?? error ?? 'unexpected answer'}: ${detail ?? description ?? shown.slice(0, 200)}`,
      ...(isOfGrantd ? [] : ['grantd does not answer like this. GRANTD_URL may name another service or port.']),
      ...faults,
      ...(retryAfter === null ? [] : [`Try again after ${retryAfter} s.`])
    ].join('\n')
  )
}

interface Refusal {
  code?: string
  detail?: string
  error?: string
  error_description?: string
  errors?: readonly { pointer?: string; parameter?: string; detail: string }[]
}

/** Returns the name of the list in an answer, and the shape of its items. Undefined when the answer is no list. */
export function listIn(answer: Schema | undefined): { name: string; item: Schema } | undefined {
  const [name, schema] = Object.entries(answer?.properties ?? {}).find(([, { items }]) => items?.properties) ?? []
  return name === undefined || schema?.items === undefined ? undefined : { name, item: schema.items }
}

/**
 * Returns a table with a line for each item.
 *
 * @param columns names of members. By default, all that are not objects
 */
export function table(items: readonly unknown[], item: Schema, columns?: readonly string[]): string {
  const names = columns ?? scalarMembers(item)
  const rows = [names, ...items.map(row => names.map(name => cell(Object(row)[name])))]
  const widths = names.map((_, column) => Math.max(...rows.map(row => [...(row[column] ?? '')].length)))
  return rows
    .map(row =>
      row
        .map((text, column) => text.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd()
    )
    .join('\n')
}

function scalarMembers({ properties = {} }: Schema): string[] {
  return Object.entries(properties)
    .filter(([, { type, items }]) => type !== undefined && type !== 'object' && items?.type !== 'object')
    .map(([name]) => name)
}

function cell(value: unknown): string {
  if (value === null || value === undefined) return '-'
  if (Array.isArray(value) && value.every(each => typeof each !== 'object')) return visible(value.join(' ')) || '-'
  return visible(typeof value === 'object' ? JSON.stringify(value) : String(value))
}

/** Characters that a terminal could take for a command, or that change the order in which text is shown. */
const INVISIBLE = /(?![\n\t])[\p{Cc}\p{Bidi_Control}]/gu

/** Returns text without characters that could deceive the reader of a terminal. */
function visible(text: string): string {
  return text.replaceAll(INVISIBLE, '\ufffd')
}

/** Returns the same JSON, in which such characters are escaped. */
function escaped(json: string): string {
  return json.replaceAll(INVISIBLE, character => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`)
}
