import type { Config } from '../config/config.ts'
import { isDevelopmentFolder, openDevelopmentMode } from '../development/admin-issuer.ts'
import { isLoopback } from '../http/loopback.ts'
import { UsageError } from './cli/arguments.ts'
import { call } from './cli/call.ts'

/** A grantd that a command calls over HTTP. */
export interface CalledService {
  /** Without a slash at its end. */
  baseUrl: string
  /** Returns GRANTD_TOKEN. @throws UsageError when it is not set */
  token: () => string
  /** Returns GRANTD_TOKEN, or signs a token of a Global Administrator in development mode. @throws Error that says what to set */
  adminToken: () => Promise<string>
}

/** Returns the grantd that GRANTD_URL and GRANTD_TOKEN name. In development mode it finds the one of this checkout. */
export function calledService({ called, host, port, issuer, dataFolder, admin }: Config): CalledService {
  const baseUrl = (called.url ?? `http://${reachable(host)}:${port}`).replace(/\/$/, '')
  return {
    baseUrl,
    token: () => {
      if (called.token === undefined) throw new UsageError('GRANTD_TOKEN or GRANTD_TOKEN_FILE must be set')
      return called.token
    },
    adminToken: async () => {
      if (called.token !== undefined) return called.token
      // The key of development mode signs for this machine only: another host could use its token here.
      if (admin.identityProvider !== undefined || !isLoopback(baseUrl) || !isDevelopmentFolder(dataFolder)) {
        throw new UsageError(
          `GRANTD_TOKEN must be set to an administrator's token for ${baseUrl}, or GRANTD_TOKEN_FILE to its file. ` +
            'Only a grantd in development mode on this machine, with the same DATA_DIR, needs none'
        )
      }
      await requireIssuer(baseUrl, [issuer, baseUrl])
      const { signToken } = await openDevelopmentMode(dataFolder, admin.sitesClaim)
      return signToken(['*'])
    }
  }
}

/**
 * Keeps a token from another program that listens on this port. This is a check against mistakes only: a program can imitate
 * the metadata of grantd.
 *
 * @throws Error when the metadata of the service (RFC 8414) names none of these issuers
 */
async function requireIssuer(baseUrl: string, issuers: readonly string[]): Promise<void> {
  const url = new URL(`${baseUrl}/.well-known/oauth-authorization-server`)
  const { status, body } = await call({ method: 'GET', url, headers: {}, body: undefined }, undefined).catch(
    (error: Error) => {
      throw new Error(`${error.message}. ${SAME_VARIABLES}`)
    }
  )
  if (status === 200 && issuers.includes(Object(body).issuer)) return
  throw new Error(
    `${baseUrl} does not say that it is the grantd of this DATA_DIR, so it gets no token: its issuer is not ${issuers[0]}. ${SAME_VARIABLES}`
  )
}

const SAME_VARIABLES =
  'Set PORT, HOST and ISSUER as this grantd has them, or GRANTD_URL and GRANTD_TOKEN to call another one'

/** Returns a host to connect to, for one to listen on. */
function reachable(host: string): string {
  if (host === '0.0.0.0') return '127.0.0.1'
  if (host === '::') return '[::1]'
  return host.includes(':') ? `[${host}]` : host
}
