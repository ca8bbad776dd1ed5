import { type TSchema, type TSchemaOptions, type TUnsafe, Type } from 'typebox'

/** Returns the schema of one of these texts, in the form that OpenAPI 3.0 and all generators support. */
export function textEnum<const T extends readonly string[]>(
  values: T,
  options: TSchemaOptions = {}
): TUnsafe<T[number]> {
  return Type.Unsafe<T[number]>({ type: 'string', enum: [...values], ...options })
}

/** Returns the schema of this or null, in the form of OpenAPI 3.0. */
export function nullable<T extends TSchema>(schema: T): TUnsafe<Type.Static<T> | null> {
  return Type.Unsafe<Type.Static<T> | null>({ ...schema, nullable: true })
}
