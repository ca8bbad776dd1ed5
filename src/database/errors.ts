import pg from 'pg'

/** The database cannot be reached, is starting or stopping, is full, read-only or too busy. A retry may help. */
export class DatabaseUnavailable extends Error {
  constructor(cause: unknown, message = 'the database is not available') {
    super(message, { cause })
    this.name = 'DatabaseUnavailable'
  }
}

/** The database cannot serve grantd as it is. Waiting does not help. The message says what to do. */
export class UnsuitableDatabase extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'UnsuitableDatabase'
  }
}

/** Classes of SQLSTATE that mean "not now": connection, resources, operator intervention, system error. */
const UNAVAILABLE_CLASSES = ['08', '53', '57', '58']

/** idle_in_transaction_session_timeout: the server has closed the connection. */
const PAUSED_TOO_LONG = '25P03'
/** invalid_sql_statement_name: preparing failed for want of a lock, and this statement was pipelined right behind it. */
const NOT_PREPARED = '26000'

const READ_ONLY = '25006'

/** Beside them read_only_sql_transaction, lock_not_available, serialization_failure, deadlock_detected. */
const UNAVAILABLE_CODES = [PAUSED_TOO_LONG, NOT_PREPARED, READ_ONLY, '55P03', '40001', '40P01']

/** Returns whether a retry may help, on this server or on another. */
export function isUnavailable(error: unknown): boolean {
  if (error instanceof UnsuitableDatabase) return false
  if (!(error instanceof pg.DatabaseError)) return true
  const code = error.code ?? ''
  return UNAVAILABLE_CODES.includes(code) || UNAVAILABLE_CLASSES.includes(code.slice(0, 2))
}

/** Returns the error as callers get it: DatabaseUnavailable when a retry may help, or when the login was refused. */
export function asUnavailable(error: unknown): unknown {
  if (error instanceof DatabaseUnavailable) return error
  return isUnavailable(error) || isLoginRefused(error) ? new DatabaseUnavailable(error) : error
}

/** Returns whether the server refused the login: a wrong password, or a role that may not log in (SQLSTATE class 28). */
export function isLoginRefused(error: unknown): boolean {
  return error instanceof pg.DatabaseError && error.code?.startsWith('28') === true
}

/** Returns whether a write failed because the server rejects writes now. */
export function isReadOnly(error: unknown): boolean {
  return error instanceof pg.DatabaseError && error.code === READ_ONLY
}

/** Returns whether the state of the connection is unknown. An error without an SQLSTATE comes from the socket. */
export function isConnectionLost(error: unknown): boolean {
  if (!(error instanceof pg.DatabaseError)) return true
  const { code = '' } = error
  return code.startsWith('08') || code.startsWith('57P') || code === PAUSED_TOO_LONG || code === NOT_PREPARED
}

/** Returns the code of an error, for the log: an SQLSTATE, or that of the system or of TLS. */
export function codeOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error ? String(error.code) : undefined
}
