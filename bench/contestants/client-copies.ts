import path from 'node:path'
import { deriveDigestKey, digestOf } from '../../src/credentials/secret-digest.ts'
import { macOf } from '../../src/credentials/secret-mac.ts'
import { Sealing } from '../../src/crypto/key-encryption.ts'
import { developmentKeyEncryptionKey } from '../../src/development/key-encryption-key.ts'
import { createClientId } from '../../src/registrations/client-id.ts'
import type { Client } from './grantd.ts'
import { query } from './postgres.ts'

/** Columns of a copy that differ from the original. */
const VARIED = ['client_id', 'site_id', 'secret_mac', 'secret_digest']

/**
 * Adds clients that are copies of one that is registered. They share its secret, so that nothing is hashed: registering
 * them would cost 10 ms of a core each.
 *
 * @param dataFolder of the grantd that has registered the original
 */
export async function addCopies(
  databaseUrl: string,
  dataFolder: string,
  { clientId: original, clientSecret }: Client,
  count: number,
  sites: number
): Promise<Client[]> {
  const macKey = await openMacKey(databaseUrl, dataFolder)
  const ids = Array.from({ length: count }, createClientId)
  const same = await columnsOf(databaseUrl, 'registrations', VARIED)
  await query(
    databaseUrl,
    `insert into registrations (${VARIED.join(', ')}, ${same})
       select copies.client_id, 'bench-' || copies.place % ${sites}, decode(copies.mac, 'hex'), decode($3, 'hex'), ${same}
       from unnest($1::text[], $2::text[]) with ordinality as copies (client_id, mac, place),
         (select ${same} from registrations where client_id = $4) as original`,
    [
      ids,
      ids.map(id => macOf(macKey, id, clientSecret).toString('hex')),
      digestOf(deriveDigestKey(macKey), clientSecret).toString('hex'),
      original
    ]
  )
  await query(databaseUrl, 'vacuum analyze')
  return ids.map(clientId => ({ clientId, clientSecret }))
}

async function openMacKey(databaseUrl: string, dataFolder: string): Promise<Buffer> {
  const [row] = await query<{ key_id: string; encrypted_key: string }>(databaseUrl, 'select * from mac_keys')
  const sealing = new Sealing(await developmentKeyEncryptionKey(path.resolve(dataFolder)))
  const opened = row && (await sealing.open('secret MACs', row.key_id, row.encrypted_key))
  if (opened === undefined) throw new Error('grantd has no MAC key that its data folder opens')
  return Buffer.from(opened.text, 'base64url')
}

/** Returns the columns of a table that can be copied, without these. */
export async function columnsOf(databaseUrl: string, table: string, excluded: readonly string[]): Promise<string> {
  const columns = await query<{ name: string }>(
    databaseUrl,
    `select column_name as name from information_schema.columns
     where table_schema = 'public' and table_name = $1 and is_generated = 'NEVER' and column_name <> all ($2)`,
    [table, excluded]
  )
  return columns.map(({ name }) => name).join(', ')
}
