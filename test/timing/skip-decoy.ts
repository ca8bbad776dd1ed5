import { registerHooks } from 'node:module'

/**
 * The positive control of the timing measure: loaded before the server, it changes the source as that is read, so that
 * an unknown client is refused before any hash. There is no such switch in grantd.
 */

const CHANGED = '/src/oauth/client-authentication/client-authentication.ts'
const BEFORE = 'const { secret, storedHash } = secretToCompare(credential, clientSecret)'

registerHooks({
  load(url, context, nextLoad) {
    const loaded = nextLoad(url, context)
    if (!url.endsWith(CHANGED)) return loaded
    const source = String(loaded.source)
    if (!source.includes(BEFORE)) throw new Error(`${CHANGED} has no "${BEFORE}" to change`)
    return {
      ...loaded,
      source: source.replace(
        BEFORE,
        `if (credential === undefined) throw invalidClient('unknown_client', usesHeader)\n${BEFORE}`
      )
    }
  }
})
