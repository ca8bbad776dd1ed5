import { pruneChains } from '../audit/prune.ts'
import { processConfig } from '../config/config.ts'
import { withConnection } from '../runtime/connection.ts'
import { DAY_MS } from '../time.ts'
import { run } from './run.ts'

/** `npm run audit:prune`: deletes audit events older than AUDIT_RETENTION_DAYS, as the owner of the schema. */

await run(async () => {
  const { database, audit } = processConfig('audit')
  if (audit.retentionDays === 0) return 'AUDIT_RETENTION_DAYS is 0, so audit events are never deleted'
  const cutoff = Date.now() - audit.retentionDays * DAY_MS
  const deleted = await withConnection(database, ({ asOwner }) => asOwner(db => pruneChains(db, cutoff)))
  return `${deleted} audit events before ${new Date(cutoff).toISOString()} deleted`
}, 'audit not pruned')
