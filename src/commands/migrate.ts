import { processConfig } from '../config/config.ts'
import { withConnection } from '../runtime/connection.ts'
import { run } from './run.ts'

/** `npm run migrate`: applies the pending migrations and exits. For a deploy step. */

await run(async () => {
  const { database } = processConfig('migrate')
  const { applied, warnings } = await withConnection(database, connection => connection.migrate())
  for (const warning of warnings) process.stderr.write(`${warning}\n`)
  return applied.length === 0 ? 'nothing to migrate' : applied.join('\n')
}, 'migration failed')
