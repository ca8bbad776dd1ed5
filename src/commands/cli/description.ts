import { readFileSync } from 'node:fs'
import path from 'node:path'
import { parse } from 'yaml'

const OPENAPI_FILE = path.join(import.meta.dirname, '../../../openapi.yaml')

/** An operation of openapi.yaml. */
export interface Operation {
  id: string
  /** In capitals. */
  method: string
  /** With names in braces, as in `/v1/sites/{siteId}`. */
  path: string
  summary: string
  description: string
  /** Heading under which it is listed. */
  tag: string
  /** Parameters and members of the body, in the order of openapi.yaml. */
  options: readonly Option[]
  /** Undefined when it takes no body. */
  body: Body | undefined
  /** The token that it needs. */
  bearer: Bearer
  /** Media types of the answers of success, by status. The list is empty when the answer has no body. */
  successes: Readonly<Record<string, readonly string[]>>
  /** Shape of the JSON answer. Undefined when there is none. */
  answer: Schema | undefined
}

/** An administrator's token, another one that only its holder has, or none. */
export type Bearer = 'administrator' | 'holder' | 'none'

export interface Option {
  name: string
  place: 'path' | 'query' | 'header' | 'body'
  isRequired: boolean
  schema: Schema
}

export interface Body {
  mediaType: string
  isRequired: boolean
}

/** The parts of a schema that the command line uses. */
export interface Schema {
  $ref?: string
  type?: string
  format?: string
  enum?: readonly unknown[]
  nullable?: boolean
  description?: string
  example?: unknown
  default?: unknown
  required?: readonly string[]
  properties?: Record<string, Schema>
  items?: Schema
  oneOf?: readonly Schema[]
}

/** Returns all operations of openapi.yaml, in its order. */
export function readOperations(text = readFileSync(OPENAPI_FILE, 'utf8')): Operation[] {
  const document: Document = parse(text)
  return Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, described]) => operationOf(document, { method, path, described }))
  )
}

interface Document {
  paths: Record<string, Record<string, Described>>
  components: { schemas: Record<string, Schema>; securitySchemes: Record<string, { type: string; scheme: string }> }
  security: readonly Record<string, unknown>[]
}

interface Described {
  operationId: string
  summary: string
  description?: string
  tags?: readonly string[]
  parameters?: readonly Parameter[]
  requestBody?: { required?: boolean; content: Record<string, { schema: Schema }> }
  security?: readonly Record<string, unknown>[]
  responses: Record<string, { content?: Record<string, { schema: Schema }> }>
}

interface Parameter {
  name: string
  in: 'path' | 'query' | 'header'
  required?: boolean
  description?: string
  example?: unknown
  schema: Schema
}

interface Found {
  method: string
  path: string
  described: Described
}

function operationOf(document: Document, { method, path, described }: Found): Operation {
  const { operationId: id, summary, description = '', tags = [], parameters = [], requestBody } = described
  const [mediaType, content] = Object.entries(requestBody?.content ?? {})[0] ?? []
  const successes = Object.entries(described.responses).filter(([status]) => Number(status) < 400)
  const answer = successes[0]?.[1].content?.['application/json']?.schema
  return {
    ...{ id, method: method.toUpperCase(), path, summary, description, tag: tags[0] ?? '' },
    options: [
      ...parameters.map(parameter => parameterOption(document, parameter)),
      ...(content === undefined ? [] : memberOptions(document, resolved(document, content.schema)))
    ],
    body: mediaType === undefined ? undefined : { mediaType, isRequired: requestBody?.required === true },
    bearer: bearerOf(document, described.security ?? document.security),
    successes: Object.fromEntries(successes.map(([status, { content }]) => [status, Object.keys(content ?? {})])),
    answer: answer === undefined ? undefined : withItems(document, resolved(document, answer))
  }
}

function parameterOption(document: Document, { name, in: place, required, schema, ...rest }: Parameter): Option {
  return { name, place, isRequired: required === true, schema: { ...resolved(document, schema), ...rest } }
}

/** Returns one option for each member of a body. */
function memberOptions(document: Document, { properties = {}, required = [] }: Schema): Option[] {
  return Object.entries(properties).map(([name, schema]) => ({
    ...{ name, place: 'body' as const, isRequired: required.includes(name) },
    schema: withItems(document, resolved(document, schema))
  }))
}

/** Returns the schema with the schemas of its lists in place of references. */
function withItems(document: Document, schema: Schema): Schema {
  const properties = Object.entries(schema.properties ?? {}).map(([name, property]) => {
    const member = resolved(document, property)
    return [name, { ...member, ...(member.items && { items: resolved(document, member.items) }) }] as const
  })
  return {
    ...schema,
    properties: Object.fromEntries(properties),
    ...(schema.items && { items: resolved(document, schema.items) })
  }
}

function resolved({ components }: Document, schema: Schema): Schema {
  const name = schema.$ref?.split('/').at(-1)
  return name === undefined ? schema : (components.schemas[name] ?? schema)
}

/** An operation with several ways is one whose caller need not send a token: clients prove themselves in the form. */
function bearerOf({ components }: Document, security: readonly Record<string, unknown>[]): Bearer {
  const names = security.map(way => Object.keys(way)[0])
  if (names.length !== 1 || names[0] === undefined) return 'none'
  if (names[0] === 'administrator') return 'administrator'
  return components.securitySchemes[names[0]]?.scheme === 'bearer' ? 'holder' : 'none'
}
