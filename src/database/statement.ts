import type { Compilable, CompiledQuery, Kysely } from 'kysely'
import type { Database } from './schema.ts'

/**
 * Makes a statement that is built and compiled once, on its first use. Afterwards only its parameters change. It is for
 * the statements of every exchange, where building would cost more than sending.
 *
 * @param build uses each of its parameters once, in their order, and nothing else that varies
 */
export function statement<Parameters extends readonly unknown[], Row>(
  build: (db: Kysely<Database>, ...parameters: Parameters) => Compilable<Row>
): (db: Kysely<Database>, ...parameters: Parameters) => Promise<Row[]> {
  let compiled: CompiledQuery<Row> | undefined
  return async (db, ...parameters) => {
    compiled ??= build(db, ...parameters).compile()
    const { rows } = await db.executeQuery<Row>({ ...compiled, parameters })
    return rows
  }
}
