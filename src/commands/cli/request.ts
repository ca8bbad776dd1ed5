import { readFileSync } from 'node:fs'
import { PRIVATE_MEMBERS } from '../../crypto/private-members.ts'
import { isMapping, readYaml } from '../yaml.ts'
import { type Arguments, folded, UsageError } from './arguments.ts'
import type { Operation, Option, Schema } from './description.ts'

/** A request to grantd, without the token. */
export interface Request {
  method: string
  url: URL
  headers: Record<string, string>
  body: string | undefined
}

const STANDARD_INPUT = 0
const EMPTY_LIST = '[]'

/**
 * Makes the request of an operation.
 *
 * A value `@path` is read from a file and `@-` from the standard input, without the line break at the end. A secret is
 * only taken that way, because other users of the machine can read arguments.
 *
 * @param baseUrl of grantd, without a slash at its end
 * @throws UsageError that names the option to change
 */
export function requestOf(operation: Operation, { given, file }: Arguments, baseUrl: string): Request {
  const values = valuesOf(operation, given)
  const inPlace = (place: Option['place']) =>
    operation.options.flatMap(option => {
      const value = values.get(option)
      return option.place === place && value !== undefined ? [{ name: option.name, value }] : []
    })
  const path = inPlace('path').reduce(
    (path, { name, value }) => path.replace(`{${name}}`, () => encodeURIComponent(String(value))),
    operation.path
  )
  const url = new URL(`${baseUrl}${path}`)
  for (const { name, value } of inPlace('query')) url.searchParams.append(name, String(value))
  const headers = Object.fromEntries(inPlace('header').map(({ name, value }) => [name, headerValue(name, value)]))
  const members = { ...readBody(operation, file), ...Object.fromEntries(inPlace('body').map(pair)) }
  return { method: operation.method, url, ...bodyOf(operation, members, headers) }
}

function headerValue(name: string, value: unknown): string {
  const text = String(value)
  if (!/^[\x20-\x7e]*$/.test(text)) throw new UsageError(`--${name} has a character that a header cannot have`)
  return text
}

const pair = ({ name, value }: { name: string; value: unknown }) => [name, value] as const

/** Returns the value of each option that was given or that has only one. */
function valuesOf(operation: Operation, given: Arguments['given']): Map<Option, unknown> {
  const texts = new Map<Option, string[]>()
  for (const { name, value } of given) {
    const option = operation.options.find(known => folded(known.name) === folded(name))
    if (option === undefined) throw new UsageError(unknownOption(operation, name))
    texts.set(option, [...(texts.get(option) ?? []), textOf(option, value)])
  }
  const values = new Map<Option, unknown>([...texts].map(([option, all]) => [option, typedValue(option, all)]))
  for (const option of operation.options.filter(option => option.isRequired && !values.has(option))) {
    const [only, ...others] = option.schema.enum ?? []
    if (only !== undefined && others.length === 0) values.set(option, only)
    // grantd itself lists all that a body lacks.
    else if (option.place !== 'body') throw new UsageError(`--${option.name} is required: ${option.schema.description}`)
  }
  return values
}

function unknownOption({ id, options }: Operation, name: string): string {
  const names = options.map(({ name }) => `--${name}`).join(', ')
  return `${id} has no option --${name}. ${names === '' ? 'It has none.' : `It has ${names}.`}`
}

function textOf({ name, place, schema }: Option, value: string | undefined): string {
  if (value === undefined) {
    if (schema.type === 'boolean') return 'true'
    throw new UsageError(`--${name} needs a value${schema.type === 'array' ? `. An empty list is ${EMPTY_LIST}` : ''}`)
  }
  const text = value.startsWith('@') && !value.startsWith('@@') ? readText(`--${name}`, value.slice(1)) : undefined
  if (text === undefined && holdsSecret(schema)) {
    throw new UsageError(
      `--${name} is a secret, and other users of this machine can read arguments. Give its file as @path, or @- for the standard input`
    )
  }
  const read = text ?? value.replace(/^@@/, '@')
  // As a part of a path, these would lead to another operation.
  if (place === 'path' && /^\.{0,2}$/.test(read)) throw new UsageError(`--${name} must not be empty, "." or ".."`)
  return read
}

/** Is this a secret, or an object or a list with one? */
export function holdsSecret({ format, properties = {}, items }: Schema): boolean {
  return format === 'password' || [...Object.values(properties), ...(items ? [items] : [])].some(holdsSecret)
}

function readText(option: string, file: string): string {
  try {
    return readFileSync(file === '-' ? STANDARD_INPUT : file, 'utf8').replace(/\r?\n$/, '')
  } catch (error) {
    throw new UsageError(`${option}: ${error instanceof Error ? error.message : String(error)}`)
  }
}

/** Returns the value of an option in the type of its schema. A list has one item for each time the option is given. */
function typedValue({ name, place, schema }: Option, texts: readonly string[]): unknown {
  if (schema.type === 'array' && place === 'body') {
    return texts.join() === EMPTY_LIST ? [] : texts.map(text => typed(name, schema.items ?? {}, text))
  }
  const [text = '', ...others] = texts
  if (others.length > 0) throw new UsageError(`--${name} is given more than once`)
  // grantd reads these as text, and says what is wrong with them.
  return place === 'body' ? typed(name, schema, text) : text
}

function typed(name: string, { type, nullable }: Schema, text: string): unknown {
  if (type === 'string') return text
  const value = valueIn(`--${name}`, text)
  const isOfType =
    (value === null && nullable === true) ||
    (type === 'integer' && Number.isInteger(value)) ||
    (type === 'object' && isMapping(value)) ||
    type === undefined ||
    typeof value === type
  if (!isOfType) throw new UsageError(`--${name} must be of the type ${type}`)
  if (isMapping(value) && 'kty' in value && PRIVATE_MEMBERS.some(member => member in value)) {
    throw new UsageError(`--${name} holds a private key, which stays with its service. Give the public key only`)
  }
  return value
}

function readBody({ id, body }: Operation, file: string | undefined): Record<string, unknown> {
  if (file === undefined) return {}
  if (body === undefined) throw new UsageError(`${id} takes no body, so there is nothing for --file`)
  const value = valueIn('--file', readText('--file', file))
  if (!isMapping(value)) throw new UsageError('--file must hold the members of the body, as "name: value"')
  return value
}

function valueIn(option: string, text: string): unknown {
  try {
    return readYaml(text)
  } catch (error) {
    throw new UsageError(`${option}: ${error instanceof Error ? error.message : String(error)}`)
  }
}

function bodyOf({ body }: Operation, members: Record<string, unknown>, headers: Record<string, string>) {
  if (body === undefined || (!body.isRequired && Object.keys(members).length === 0)) return { headers, body: undefined }
  const isJson = body.mediaType === 'application/json'
  const form = Object.entries(members).map(([name, value]) => [name, String(value)] as const)
  return {
    headers: { ...headers, 'content-type': body.mediaType },
    body: isJson ? JSON.stringify(members) : new URLSearchParams(Object.fromEntries(form)).toString()
  }
}
