import { pruneChains } from '../audit/prune.ts'
import { processConfig } from '../config/config.ts'
import { withConnection } from '../runtime/connection.ts'
import { run } from './run.ts'

/** `npm run audit:prune`: deletes audit events older than AUDIT_RETENTION_DAYS now. grantd does so by itself every 6 hours. */

await run(async () => {
  const { database, audit } = processConfig('audit')
  if (audit.retentionDays === 0) return 'AUDIT_RETENTION_DAYS is 0, so audit events are never deleted'
  const deleted = await withConnection(database, ({ background }) => pruneChains(background, audit.retentionDays))
  return `${deleted} audit events older than ${audit.retentionDays} days deleted`
}, 'audit not pruned')
