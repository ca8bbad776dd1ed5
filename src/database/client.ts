import pg from 'pg'
import { asUnavailable } from './errors.ts'
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
    throw asUnavailable(error)
  }
}
