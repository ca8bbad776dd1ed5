import { parseArgs } from 'node:util'
import { processConfig } from '../config/config.ts'
import { connect } from '../database/connect.ts'
import { openKeyStore } from '../runtime/key-store.ts'
import { replaceCompromised, rotateNow } from '../signing-keys/rotation-by-hand.ts'

/** Door: makes the next signing key now; with `--compromised`, in place of all that exist. */

try {
  process.stdout.write(await rotateKeys())
} catch (error) {
  process.stderr.write(`no key was made: ${error instanceof Error ? error.message : String(error)}\n`)
  process.exit(1)
}

async function rotateKeys(): Promise<string> {
  const { values } = parseArgs({ options: { compromised: { type: 'boolean', default: false } } })
  const config = processConfig()
  const connection = await connect({
    ...config.database,
    asOwner: true,
    onIdleError: () => {},
    onLaneChange: () => {}
  })
  try {
    const store = await openKeyStore(config, connection.background)
    const { kid, signsFrom, destroyed } = await (values.compromised ? replaceCompromised : rotateNow)(store)
    if (!values.compromised) {
      return `${kid} is published within 20 seconds and signs from ${new Date(signsFrom).toISOString()}; then the last one ends\n`
    }
    return [
      `${kid} signs now. Destroyed: ${destroyed.join(', ') || 'none'}.`,
      'Instances follow within 20 seconds. Tokens of the destroyed keys are refused once resource servers fetch the',
      'keys again, after 5 minutes at the latest where they obey Cache-Control; clients need new tokens.',
      ''
    ].join('\n')
  } finally {
    await connection.close()
  }
}
