import pg from 'pg'

/** The database can't be reached, is starting or stopping, is full, read-only or too busy. Trying again later may help. */
export class DatabaseUnavailable extends Error {
  constructor(cause: unknown, message = 'the database is not available') {
    super(message, { cause })
    this.name = 'DatabaseUnavailable'
  }
}

/** Classes of SQLSTATE that say "not now": connection, resources, operator intervention, system error. */
const UNAVAILABLE_CLASSES = ['08', '53', '57', '58']

/** idle_in_transaction_session_timeout: the server has ended the connection. */
const PAUSED_TOO_LONG = '25P03'
/** invalid_sql_statement_name: preparing it failed, for want of a lock, and this one came down the lane right behind. */
const NOT_PREPARED = '26000'

const READ_ONLY = '25006'

/** Beside them read_only_sql_transaction, lock_not_available, serialization_failure, deadlock_detected. */
const UNAVAILABLE_CODES = [PAUSED_TOO_LONG, NOT_PREPARED, READ_ONLY, '55P03', '40001', '40P01']

export function isUnavailable(error: unknown): boolean {
  if (!(error instanceof pg.DatabaseError)) return true
  const code = error.code ?? ''
  return UNAVAILABLE_CODES.includes(code) || UNAVAILABLE_CLASSES.includes(code.slice(0, 2))
}

/** As callers get it: what says "not now" is told from other errors. */
export function asUnavailable(error: unknown): unknown {
  return error instanceof DatabaseUnavailable || !isUnavailable(error) ? error : new DatabaseUnavailable(error)
}

/** It was to write, and the server takes no writes now. */
export function isReadOnly(error: unknown): boolean {
  return error instanceof pg.DatabaseError && error.code === READ_ONLY
}

/** An error without an SQLSTATE comes from the socket or a timeout: what the server thinks of the connection is unknown. */
export function isConnectionLost(error: unknown): boolean {
  if (!(error instanceof pg.DatabaseError)) return true
  const { code = '' } = error
  return code.startsWith('08') || code.startsWith('57P') || code === PAUSED_TOO_LONG || code === NOT_PREPARED
}

/** The row that another refers to is gone (SQLSTATE 23503). */
export function isForeignKeyViolation(error: unknown): boolean {
  return error instanceof pg.DatabaseError && error.code === '23503'
}
