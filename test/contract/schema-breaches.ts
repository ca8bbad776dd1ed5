import type { Comparison } from './breaches.ts'
import { resolve, type Schema } from './document.ts'

/** Returns how a server refuses what it took, or reads it as something else. */
export function requestBreaches(comparison: Comparison, before: Schema, now: Schema): string[] {
  return compare(comparison, before, now, requestDifferences, new Set())
}

/** Returns how an answer lacks what it had, or has another type. */
export function answerBreaches(comparison: Comparison, before: Schema, now: Schema): string[] {
  return compare(comparison, before, now, answerDifferences, new Set())
}

type Differences = (where: string, before: Schema, now: Schema) => string[]

/**
 * Compares two schemas and everything below them. A schema with a name is the subject of its sentences, because several
 * operations use it.
 *
 * @param seen names of the schemas above
 */
function compare(
  comparison: Comparison,
  before: Schema,
  now: Schema,
  differences: Differences,
  seen: ReadonlySet<string>
): string[] {
  const old = resolve(comparison.before, before)
  const { schema } = resolve(comparison.now, now)
  if (old.name !== undefined && seen.has(old.name)) return []
  const known = old.name === undefined ? seen : new Set([...seen, old.name])
  const here = { ...comparison, where: old.name ?? comparison.where }
  const below = (name: string, one: Schema, other: Schema) =>
    compare({ ...here, where: `${here.where}${name}` }, one, other, differences, known)

  const variants = alternatives(old.schema)
  const others = alternatives(schema)
  if (variants.length > 1 || others.length > 1) {
    return variants.flatMap(variant => closest(others.map(other => below('', variant, other))))
  }
  return [
    ...differences(here.where, old.schema, schema),
    ...Object.entries(old.schema.properties ?? {}).flatMap(([name, member]) => {
      const changed = schema.properties?.[name]
      if (changed === undefined) return [`${here.where} has no member ${name} any more.`]
      return below(`.${name}`, member, changed)
    }),
    ...(old.schema.items !== undefined && schema.items !== undefined ? below('[]', old.schema.items, schema.items) : [])
  ]
}

/** Returns the schemas of which a value is one. */
function alternatives(schema: Schema): readonly Schema[] {
  return schema.oneOf ?? schema.anyOf ?? [schema]
}

function closest(all: readonly string[][]): string[] {
  return all.reduce((least, other) => (other.length < least.length ? other : least))
}

function requestDifferences(where: string, before: Schema, now: Schema): string[] {
  const known = before.required ?? []
  return [
    ...typeDifferences(where, before, now, 'number'),
    ...(before.nullable === true && now.nullable !== true ? [`${where} no longer takes null.`] : []),
    ...missing(before.enum ?? [], now.enum).map(value => `${where} no longer takes the value ${value}.`),
    ...(before.enum === undefined && now.enum !== undefined ? [`${where} only takes ${now.enum.join(', ')}.`] : []),
    ...(now.required ?? []).filter(name => !known.includes(name)).map(name => `${where} requires the member ${name}.`),
    ...(now.pattern !== undefined && now.pattern !== before.pattern ? [`${where} must match ${now.pattern}.`] : []),
    ...UPPER.filter(bound => (now[bound] ?? Infinity) < (before[bound] ?? Infinity)).map(
      bound => `${where} has the ${bound} ${now[bound]}, which was ${before[bound] ?? 'not limited'}.`
    ),
    ...LOWER.filter(bound => (now[bound] ?? -Infinity) > (before[bound] ?? -Infinity)).map(
      bound => `${where} has the ${bound} ${now[bound]}, which was ${before[bound] ?? 'not limited'}.`
    )
  ]
}

const UPPER = ['maxLength', 'maximum', 'maxItems'] as const
const LOWER = ['minLength', 'minimum', 'minItems'] as const

function answerDifferences(where: string, before: Schema, now: Schema): string[] {
  const certain = now.required ?? []
  return [
    ...typeDifferences(where, before, now, 'integer'),
    ...(before.nullable !== true && now.nullable === true ? [`${where} may be null.`] : []),
    ...missing(before.enum ?? [], now.enum ?? []).map(value => `${where} has no value ${value} any more.`),
    ...(before.required ?? [])
      .filter(name => now.properties?.[name] !== undefined && !certain.includes(name))
      .map(name => `${where} may lack the member ${name}.`)
  ]
}

/** @param compatible type that takes the place of the other kind of number without breaking anything */
function typeDifferences(where: string, before: Schema, now: Schema, compatible: 'number' | 'integer'): string[] {
  if (before.type === now.type) return []
  const isNumber = [before.type, now.type].every(type => type === 'integer' || type === 'number')
  return isNumber && now.type === compatible ? [] : [`${where} is ${now.type}, which was ${before.type}.`]
}

/** Returns values that are not listed any more. @param now undefined when any value is taken */
function missing(before: readonly unknown[], now: readonly unknown[] | undefined): unknown[] {
  return now === undefined ? [] : before.filter(value => !now.includes(value))
}
