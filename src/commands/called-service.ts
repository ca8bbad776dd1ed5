import type { Config } from '../config/config.ts'
import { isDevelopmentFolder, openDevelopmentMode } from '../development/admin-issuer.ts'
import { isLoopback } from '../http/loopback.ts'

/** A grantd that a command calls over HTTP. */
export interface CalledService {
  /** Without a slash at its end. */
  baseUrl: string
  /** Returns GRANTD_TOKEN. @throws Error when it is not set */
  token: () => string
  /** Returns GRANTD_TOKEN, or signs a token of a Global Administrator in development mode. @throws Error that says what to set */
  adminToken: () => Promise<string>
}

/** Returns the grantd that GRANTD_URL and GRANTD_TOKEN name. In development mode it finds the one of this checkout. */
export function calledService({ called, host, port, dataFolder, admin }: Config): CalledService {
  const baseUrl = (called.url ?? `http://${reachable(host)}:${port}`).replace(/\/$/, '')
  return {
    baseUrl,
    token: () => {
      if (called.token === undefined) throw new Error('GRANTD_TOKEN or GRANTD_TOKEN_FILE must be set')
      return called.token
    },
    adminToken: async () => {
      if (called.token !== undefined) return called.token
      // The key of development mode signs for this machine only: another host could use its token here.
      if (admin.identityProvider !== undefined || !isLoopback(baseUrl) || !isDevelopmentFolder(dataFolder)) {
        throw new Error(
          `GRANTD_TOKEN must be set to an administrator's token for ${baseUrl}, or GRANTD_TOKEN_FILE to its file. ` +
            'Only a grantd in development mode on this machine, with the same DATA_DIR, needs none'
        )
      }
      const { signToken } = await openDevelopmentMode(dataFolder, admin.sitesClaim)
      return signToken(['*'])
    }
  }
}

/** Returns a host to connect to, for one to listen on. */
function reachable(host: string): string {
  if (host === '0.0.0.0') return '127.0.0.1'
  if (host === '::') return '[::1]'
  return host.includes(':') ? `[${host}]` : host
}
