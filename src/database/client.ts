import pg from 'pg'
import { asUnavailable, codeOf, UnsuitableDatabase } from './errors.ts'
import { PrimaryLocator } from './primary-locator.ts'
import { prepareSession } from './session.ts'
import { ALL_SITES_VISIBLE } from './site-setting.ts'

const CONNECT_TIMEOUT_MS = 2_000

/**
 * Runs work with a connection of its own to the primary, which is closed afterwards. It sees all Sites, and its
 * statements have no limit of time.
 *
 * @throws DatabaseUnavailable; what the work throws
 */
export async function withClient<T>(connectionString: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = await openClient(new PrimaryLocator(connectionString))
  try {
    return await work(client)
  } finally {
    // When the connection is lost, the statement that failed has said so.
    await client.end().catch(() => {})
  }
}

async function openClient(locator: PrimaryLocator): Promise<pg.Client> {
  try {
    return await locator.connectToPrimary(async () => {
      const client = new pg.Client({
        connectionString: locator.current,
        connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
        keepAlive: true,
        application_name: 'grantd setup'
      })
      client.on('error', () => {})
      try {
        await client.connect()
        await locator.assertPrimary(client)
        await prepareSession(client, [ALL_SITES_VISIBLE])
        return client
      } catch (error) {
        void client.end().catch(() => {})
        throw error
      }
    })
  } catch (error) {
    const fault = tlsFault(error)
    throw fault === undefined ? asUnavailable(error) : new UnsuitableDatabase(fault)
  }
}

/** Codes with which OpenSSL and Node reject a certificate. */
const CERTIFICATE_CODES = /^(SELF_SIGNED_|DEPTH_ZERO_|UNABLE_TO_|CERT_|INVALID_CA|ERR_TLS_CERT_)/

/** Returns what is wrong with the configuration of TLS, as a sentence with its cure. Waiting would not help. */
function tlsFault(error: unknown): string | undefined {
  const code = codeOf(error) ?? ''
  if (!(error instanceof Error)) return undefined
  if ('syscall' in error && error.syscall === 'open')
    return `DATABASE_URL names a file that cannot be read: ${error.message}`
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') {
    return `DATABASE_URL: the certificate of the server is for another host name: ${error.message}`
  }
  if (!CERTIFICATE_CODES.test(code)) return undefined
  return (
    `DATABASE_URL: the certificate of the server is not trusted (${error.message}). ` +
    'Name the certificate of its authority with sslrootcert=/path/to/ca.pem'
  )
}
