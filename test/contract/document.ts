import { globSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { parse } from 'yaml'

/** The parts of an OpenAPI document that clients rely on. */
export interface Document {
  paths: Record<string, Record<string, Operation>>
  components: { schemas: Record<string, Schema> }
  /** Applies to operations without `security` of their own. */
  security?: readonly Record<string, unknown>[]
}

export interface Operation {
  operationId: string
  parameters?: readonly Parameter[]
  requestBody?: { required?: boolean; content: Content }
  security?: readonly Record<string, unknown>[]
  responses: Record<string, Response>
}

export interface Parameter {
  name: string
  in: string
  required?: boolean
  schema: Schema
}

export interface Response {
  content?: Content
  headers?: Record<string, unknown>
}

export type Content = Record<string, { schema: Schema }>

export interface Schema {
  $ref?: string
  type?: string
  nullable?: boolean
  enum?: readonly unknown[]
  properties?: Record<string, Schema>
  required?: readonly string[]
  items?: Schema
  oneOf?: readonly Schema[]
  anyOf?: readonly Schema[]
  pattern?: string
  minLength?: number
  maxLength?: number
  minimum?: number
  maximum?: number
  minItems?: number
  maxItems?: number
}

/** Returns the schema that a reference leads to, and its name. A schema without a reference has no name. */
export function resolve({ components }: Document, schema: Schema): { name: string | undefined; schema: Schema } {
  const name = schema.$ref?.split('/').at(-1)
  return { name, schema: name === undefined ? schema : (components.schemas[name] ?? {}) }
}

/** The documents of the releases, by version. CONTRIBUTING says how a release adds its own. */
export const RELEASES: ReadonlyMap<string, Document> = new Map(
  globSync('openapi-*.yaml', { cwd: import.meta.dirname }).map(file => [
    file.slice('openapi-'.length, -'.yaml'.length),
    parse(readFileSync(path.join(import.meta.dirname, file), 'utf8'))
  ])
)
