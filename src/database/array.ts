/**
 * Writes an array as Postgres reads it. node-postgres quotes each value instead, which takes five times as long.
 *
 * @param values numbers, `null` for a null, and texts that need no quotes, such as client ids
 */
export function arrayOf(values: readonly (number | string)[]): string {
  return `{${values.join()}}`
}
