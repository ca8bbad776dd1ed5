import { createHash, generateKeyPairSync, timingSafeEqual } from 'node:crypto'
import pg from 'pg'

/** What every peer stands on: the same Postgres, a pool of ten, one ES256 key, 15 minutes for a token. */
export const port = Number(process.env.PORT)
export const issuer = `http://127.0.0.1:${port}`
export const tokenTtlSeconds = 900
export const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })

const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL, max: 10 })

/** Prepared once per connection by its name. */
export async function query(name, text, values) {
  const { rows } = await pool.query({ name, text, values })
  return rows
}

/** A client of table `clients`, when the secret is its own: SHA-256, where a user of these libraries may well hash slowly. */
export async function findClient(clientId) {
  const [client] = await query('client', 'select id, secret_sha256, grants from clients where id = $1', [clientId])
  return client
}

export function matches(secret, sha256) {
  return timingSafeEqual(createHash('sha256').update(secret).digest(), sha256)
}
