import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:https'
import path from 'node:path'
import type { Test } from 'tap'
import { freePort } from '../fixtures/app/app.ts'
import { send } from '../fixtures/app/grantd.ts'
import { ROOT } from '../fixtures/run/paths.ts'
import { startIssuer, type Tokens } from './tokens.ts'

const CERTIFICATE = path.join(ROOT, 'test/fixtures/peers/hooks.example.test')

/** Starts grantd behind a proxy with TLS, for verifiers that need https. The certificate of the proxy is made for tests. */
export async function startHttpsIssuer(t: Test): Promise<Tokens> {
  const port = await freePort()
  const tokens = await startIssuer(t, `https://127.0.0.1:${port}`)
  await startTlsProxy(t, port, tokens.grantd.baseUrl)
  return tokens
}

async function startTlsProxy(t: Test, port: number, grantdUrl: string): Promise<void> {
  const pem = { cert: readFileSync(`${CERTIFICATE}.crt.pem`), key: readFileSync(`${CERTIFICATE}.key.pem`) }
  const proxy = createServer(pem, async (request, response) => {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk)
    const { host: _, connection: __, ...headers } = request.headers
    try {
      const body = Buffer.concat(chunks)
      const answer = await send(request.method ?? '', `${grantdUrl}${request.url}`, {
        headers,
        ...(body.length > 0 && { body })
      })
      response.writeHead(answer.status, { 'content-type': String(answer.headers['content-type']) }).end(answer.text)
    } catch {
      response.writeHead(502).end()
    }
  })
  proxy.listen(port, '127.0.0.1')
  await once(proxy, 'listening')
  t.teardown(() => {
    proxy.closeAllConnections()
    proxy.close()
  })
}
