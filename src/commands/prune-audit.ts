import { pruneChains } from '../audit/prune.ts'
import { processConfig } from '../config/config.ts'
import { connect } from '../database/connect.ts'
import { DAY_MS } from '../time.ts'

/** Door: deletes audit events that are older than AUDIT_RETENTION_DAYS, as the owner of the schema. */

try {
  const { database, audit } = processConfig('audit')
  if (audit.retentionDays === 0) {
    process.stdout.write('AUDIT_RETENTION_DAYS is 0: audit events are kept for ever\n')
  } else {
    const connection = await connect({ ...database, onIdleError: () => {}, onLaneChange: () => {} })
    const cutoff = Date.now() - audit.retentionDays * DAY_MS
    const deleted = await connection.asOwner(db => pruneChains(db, cutoff))
    process.stdout.write(`${deleted} audit events before ${new Date(cutoff).toISOString()} deleted\n`)
    await connection.close()
  }
} catch (error) {
  process.stderr.write(`audit not pruned: ${error instanceof Error ? error.message : String(error)}\n`)
  process.exit(1)
}
