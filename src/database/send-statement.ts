import type pg from 'pg'

/**
 * Sends a statement, and resolves to its answer.
 *
 * It gives `pg` a callback. With the promises of `pg`, every row that was read is kept until old objects are collected.
 *
 * @throws what the driver reports. Kysely adds the stack of the caller
 */
export function sendStatement(client: pg.ClientBase, statement: pg.QueryConfig): Promise<pg.QueryResult> {
  const { promise, resolve, reject } = Promise.withResolvers<pg.QueryResult>()
  void client.query(statement, (error, result) => (error ? reject(error) : resolve(result)))
  return promise
}
