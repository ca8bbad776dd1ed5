import type { Contestant } from './contestant.ts'

/** All contestants issue tokens of 15 minutes. */
const TTL_SECONDS = 900

/**
 * Checks that a contestant does what it is compared for: it issues an ES256 JWT to a client, and rejects a wrong secret.
 *
 * @throws Error when it does not
 */
export async function admit({ name, server, requests }: Contestant): Promise<void> {
  const [head = '', form = ''] = String(requests[0]).split('\r\n\r\n')
  const url = `http://127.0.0.1:${server.ports[0]}${head.split(' ')[1]}`
  const fields = new URLSearchParams(form)
  const clientId = fields.get('client_id')
  const answer = await post(url, fields)
  const { access_token: accessToken }: { access_token?: string } = JSON.parse(await answer.text())
  const [header, claims] = (accessToken ?? '').split('.', 2).map(part => Buffer.from(part, 'base64url').toString())
  const { alg }: { alg?: string } = JSON.parse(header || '{}')
  const {
    sub,
    client_id: ofClient = sub,
    exp = 0,
    iat = 0
  }: { sub?: string; client_id?: string; exp?: number; iat?: number } = JSON.parse(claims || '{}')
  if (alg !== 'ES256' || ofClient !== clientId || exp - iat !== TTL_SECONDS) {
    throw new Error(`${name} issues another kind of token: ${header} ${claims}`)
  }
  const secret = fields.get('client_secret') ?? ''
  // A different last character: a secret of another client may have another checksum, but this one cannot be right.
  fields.set('client_secret', `${secret.slice(0, -1)}${secret.endsWith('0') ? '1' : '0'}`)
  const refusal = await post(url, fields)
  await refusal.arrayBuffer()
  if (refusal.status < 400 || refusal.status > 401)
    throw new Error(`${name} answers ${refusal.status} to a wrong secret`)
}

function post(url: string, body: URLSearchParams): Promise<Response> {
  return fetch(url, { method: 'POST', body })
}
