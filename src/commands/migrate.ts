import { processConfig } from '../config/config.ts'
import { connect } from '../database/connect.ts'

/** Door: migrations alone, for a deploy step. */

try {
  const { database } = processConfig('migrate')
  const connection = await connect({ ...database, onIdleError: () => {}, onLaneChange: () => {} })
  const applied = await connection.migrate()
  process.stdout.write(applied.length === 0 ? 'nothing to migrate\n' : `${applied.join('\n')}\n`)
  await connection.close()
} catch (error) {
  process.stderr.write(`migration failed: ${error instanceof Error ? error.message : String(error)}\n`)
  process.exit(1)
}
