import { verifyChains } from '../audit/verify.ts'
import { processConfig } from '../config/config.ts'
import { withConnection } from '../runtime/connection.ts'
import { run } from './run.ts'

/**
 * `npm run audit:verify`: checks that the audit events of all Sites are as they were written.
 * Exits with 1 when one is not, and with 2 when it could not check.
 */

const FAULTS = {
  changed: 'was changed',
  missing: 'is missing',
  added: 'was added',
  endless: 'has no end of its chain'
} as const

const COULD_NOT_CHECK = 2

await run(
  () =>
    withConnection(processConfig('audit').database, async ({ background }) => {
      const lines: string[] = []
      let [sites, events] = [0, 0]
      for await (const { siteId, events: count, broken } of verifyChains(background)) {
        sites++
        events += count
        if (broken !== undefined) lines.push(`Site ${siteId}: audit event ${broken.sequence} ${FAULTS[broken.fault]}`)
      }
      const summary = `Sites: ${sites}, events: ${events}, Sites with a fault: ${lines.length}`
      return { output: [...lines, summary].join('\n'), exitCode: lines.length === 0 ? 0 : 1 }
    }),
  'audit not verified',
  COULD_NOT_CHECK
)
