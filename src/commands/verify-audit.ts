import { verifyChains } from '../audit/verify.ts'
import { processConfig } from '../config/config.ts'
import { connect } from '../database/connect.ts'

/** Door: says whether the audit events of all Sites are as they were written. Exit code 1 when one is not. */

const FAULTS = {
  changed: 'was changed',
  missing: 'is missing',
  added: 'was added',
  endless: 'has no end of its chain'
} as const

try {
  const { database } = processConfig('audit')
  const connection = await connect({ ...database, onIdleError: () => {}, onLaneChange: () => {} })
  let [sites, events, brokenSites] = [0, 0, 0]
  for await (const verdict of verifyChains(connection.background)) {
    sites++
    events += verdict.events
    if (verdict.broken === undefined) continue
    brokenSites++
    const { sequence, fault } = verdict.broken
    process.stdout.write(`Site ${verdict.siteId}: audit event ${sequence} ${FAULTS[fault]}\n`)
  }
  process.stdout.write(`Sites: ${sites}, events: ${events}, Sites with a fault: ${brokenSites}\n`)
  await connection.close()
  process.exitCode = brokenSites === 0 ? 0 : 1
} catch (error) {
  process.stderr.write(`audit not verified: ${error instanceof Error ? error.message : String(error)}\n`)
  process.exit(2)
}
