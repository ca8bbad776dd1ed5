import { createHash } from 'node:crypto'
import formbody from '@fastify/formbody'
import Fastify from 'fastify'
import pg from 'pg'
import { signedToken } from './signed-token.ts'

/**
 * The same guarantee as grantd and nothing else, on PORT and DATABASE_URL: each exchange checks the client's row, and
 * the use is committed before the token leaves. One statement does both for all requests that wait, and then all their
 * tokens are signed one after the other. There is no log, no metric, no limit, no rotation and no other endpoint.
 */
const { PORT, DATABASE_URL } = process.env

/** One row for each client whose secret is right and that may exchange now. Index: clients_pkey. */
const CONFIRM_AND_RECORD = `
  update clients set last_used_at = greatest(last_used_at, $3)
  from unnest($1::text[], $2::bytea[]) as presented (client_id, secret_sha256)
  where clients.client_id = presented.client_id and clients.secret_sha256 = presented.secret_sha256
    and enabled and expires_at > $3
  returning clients.client_id, clients.secret_sha256`

interface Presented {
  clientId: string
  secret: Buffer
  /** Given the token; undefined when the client is refused. */
  resolve: (token: string | undefined) => void
  reject: (error: unknown) => void
}

const database = new pg.Client({ connectionString: DATABASE_URL })
await database.connect()
let waiting: Presented[] = []
let isConfirming = false

const app = Fastify()
await app.register(formbody)
app.post<{ Body: { grant_type: string; client_id: string; client_secret: string } }>(
  '/oauth/token',
  async ({ body }, reply) => {
    if (body.grant_type !== 'client_credentials') return reply.code(400).send({ error: 'unsupported_grant_type' })
    const token = await exchange(body.client_id, createHash('sha256').update(body.client_secret).digest())
    if (token === undefined) return reply.code(401).send({ error: 'invalid_client' })
    reply.header('cache-control', 'no-store')
    return { access_token: token, token_type: 'Bearer', expires_in: 900 }
  }
)
await app.listen({ host: '127.0.0.1', port: Number(PORT) })

function exchange(clientId: string, secret: Buffer): Promise<string | undefined> {
  const { promise, resolve, reject } = Promise.withResolvers<string | undefined>()
  waiting.push({ clientId, secret, resolve, reject })
  if (!isConfirming) {
    isConfirming = true
    setImmediate(confirmAll)
  }
  return promise
}

/** One statement at a time: the requests that come meanwhile are the next batch. */
async function confirmAll(): Promise<void> {
  while (waiting.length > 0) {
    const batch = waiting
    waiting = []
    try {
      const confirmed = await confirmAndRecord(batch)
      for (const { clientId, secret, resolve } of batch)
        resolve(confirmed.get(clientId)?.equals(secret) ? signedToken(clientId) : undefined)
    } catch (error) {
      for (const { reject } of batch) reject(error)
    }
  }
  isConfirming = false
}

/** @returns the right secret of each client that is confirmed */
async function confirmAndRecord(batch: readonly Presented[]): Promise<Map<string, Buffer>> {
  const values = [batch.map(({ clientId }) => clientId), batch.map(({ secret }) => secret), new Date()]
  const { promise, resolve, reject } =
    Promise.withResolvers<pg.QueryResult<{ client_id: string; secret_sha256: Buffer }>>()
  // With a callback, as grantd does: it costs less garbage collection than the promises of pg.
  void database.query({ name: 'confirm', text: CONFIRM_AND_RECORD, values }, (error, result) =>
    error ? reject(error) : resolve(result)
  )
  const { rows } = await promise
  return new Map(rows.map(row => [row.client_id, row.secret_sha256]))
}
