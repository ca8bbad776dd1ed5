import { parseArgs } from 'node:util'
import { processConfig } from '../config/config.ts'
import { withConnection } from '../runtime/connection.ts'
import { keySetOptions } from '../runtime/key-set-options.ts'
import { replaceCompromised, rotateNow } from '../signing-keys/rotation-by-hand.ts'
import { run } from './run.ts'

/**
 * `npm run keys:rotate`: creates the next signing key now.
 * With `--compromised`, destroys all existing keys and signs with a new one at once.
 */

await run(async () => {
  const { values } = parseArgs({ options: { compromised: { type: 'boolean', default: false } } })
  const config = processConfig()
  const rotate = values.compromised ? replaceCompromised : rotateNow
  const { kid, signsFrom, destroyed } = await withConnection(
    config.database,
    async ({ background }) => rotate(await keySetOptions(config, background)),
    { asOwner: true }
  )
  if (!values.compromised) {
    return `${kid} is published within 20 seconds. It signs from ${new Date(signsFrom).toISOString()}, when the current key stops.`
  }
  return [
    `${kid} signs now. Destroyed keys: ${destroyed.join(', ') || 'none'}.`,
    'All instances use it within 20 seconds. Resource servers reject tokens of the destroyed keys once they fetch the',
    'keys again, which takes at most 5 minutes if they follow Cache-Control. Clients need new tokens.'
  ].join('\n')
}, 'no key was created')
