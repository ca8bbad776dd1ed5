import type { PostgresCursor, PostgresPoolClient, PostgresQueryResult } from 'kysely'
import type pg from 'pg'
import { asUnavailable } from './errors.ts'

/** A connection as Kysely needs it. It reports errors that a retry may cure as DatabaseUnavailable. It has no cursors. */
export abstract class StatementClient implements PostgresPoolClient {
  query<R>(sql: string, parameters: readonly unknown[]): Promise<PostgresQueryResult<R>>
  query<R>(cursor: PostgresCursor<R>): PostgresCursor<R>
  query<R>(
    sql: string | PostgresCursor<R>,
    parameters: readonly unknown[] = []
  ): Promise<PostgresQueryResult<R>> | PostgresCursor<R> {
    if (typeof sql !== 'string') throw new TypeError('cursors are not supported')
    return this.#run<R>(sql, parameters)
  }

  /** Sends a statement as it is. */
  protected abstract send(sql: string, parameters: readonly unknown[]): Promise<pg.QueryResult>
  /** Called with every error, before the caller gets it. */
  protected abstract failed(error: unknown): void
  abstract release(destroy?: boolean): void

  async #run<R>(sql: string, parameters: readonly unknown[]): Promise<PostgresQueryResult<R>> {
    try {
      const { command, rowCount, rows } = await this.send(sql, parameters)
      return { command: commandOf(command), rowCount: rowCount ?? 0, rows }
    } catch (error) {
      this.failed(error)
      throw asUnavailable(error)
    }
  }
}

const COMMANDS = ['UPDATE', 'DELETE', 'INSERT', 'SELECT', 'MERGE', 'COMMIT', 'ROLLBACK'] as const

/** Returns the command as Kysely knows it. Others (`begin`, `create table`) return no rows to it. */
function commandOf(command: string): (typeof COMMANDS)[number] {
  return COMMANDS.find(known => known === command) ?? 'SELECT'
}
