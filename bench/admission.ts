import type { Contestant } from './contestants.ts'

/**
 * Does it do what it is compared for? It issues a JWT signed with ES256 to a client, which lasts a while, and refuses a
 * wrong secret.
 *
 * @throws Error when it doesn't
 */
export async function admit({ name, server, requests }: Contestant): Promise<void> {
  const [head = '', form = ''] = String(requests[0]).split('\r\n\r\n')
  const url = `http://127.0.0.1:${server.port}${head.split(' ')[1]}`
  const clientId = new URLSearchParams(form).get('client_id')
  const answer = await post(url, form)
  const { access_token: accessToken }: { access_token?: string } = JSON.parse(await answer.text())
  const [header, claims] = (accessToken ?? '').split('.', 2).map(part => Buffer.from(part, 'base64url').toString())
  const { alg }: { alg?: string } = JSON.parse(header || '{}')
  const { sub, exp = 0, iat = 0 }: { sub?: string; exp?: number; iat?: number } = JSON.parse(claims || '{}')
  if (alg !== 'ES256' || sub !== clientId || exp - iat !== TTL_SECONDS) {
    throw new Error(`${name} issues another kind of token: ${header} ${claims}`)
  }
  // The last character of every secret is an x, or a checksum's.
  const refusal = await post(url, `${form.slice(0, -1)}${form.endsWith('0') ? '1' : '0'}`)
  await refusal.arrayBuffer()
  if (refusal.status < 400 || refusal.status > 401)
    throw new Error(`${name} answers ${refusal.status} to a wrong secret`)
}

const TTL_SECONDS = 900

function post(url: string, form: string): Promise<Response> {
  return fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
    body: form
  })
}
