import type { Config } from '../config/config.ts'
import { type Connection, connect, type DatabaseOptions } from '../database/connect.ts'
import { startEmbeddedPostgres } from '../development/embedded-postgres.ts'

type ConnectionOptions = Partial<
  Pick<DatabaseOptions, 'asOwner' | 'onIdleError' | 'onConnectionChange' | 'onConnectFailure'>
>

const IGNORE_CHANGES = { onIdleError: () => {}, onConnectionChange: () => {}, onConnectFailure: () => {} }

/** Connects to the configured database. Without DATABASE_URL, starts or joins the embedded Postgres of development mode. */
export async function openConnection(
  { url, rereadUrl, migrationUrl, poolSize, folder }: Config['database'],
  options: ConnectionOptions = {}
): Promise<Connection> {
  const embedded = url === undefined ? await startEmbeddedPostgres(folder) : undefined
  const connection = await connect({
    url: url ?? embedded?.servingUrl ?? '',
    rereadUrl,
    migrationUrl: migrationUrl ?? embedded?.ownerUrl,
    poolSize,
    ...IGNORE_CHANGES,
    ...options
  })
  return {
    ...connection,
    close: async () => {
      await connection.close()
      embedded?.release()
    }
  }
}

/** Runs `work` with a connection that is closed afterwards. */
export async function withConnection<Result>(
  database: Config['database'],
  work: (connection: Connection) => Promise<Result>,
  options: ConnectionOptions = {}
): Promise<Result> {
  const connection = await openConnection(database, options)
  try {
    return await work(connection)
  } finally {
    await connection.close()
  }
}
