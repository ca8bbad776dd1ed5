import { createServer } from 'node:http'
import { auth } from './better-auth-server.mjs'
import { issuer, port } from './ground.mjs'

/** Serves Better Auth on node:http. Its own adapter answers in chunks, which the load generator does not read. */
createServer(async (incoming, outgoing) => {
  const pieces = []
  for await (const piece of incoming) pieces.push(piece)
  const answer = await auth.handler(
    new Request(`${issuer}${incoming.url}`, {
      method: incoming.method,
      headers: incoming.headers,
      body: pieces.length === 0 ? undefined : Buffer.concat(pieces)
    })
  )
  const body = await answer.text()
  outgoing.writeHead(answer.status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) })
  outgoing.end(body)
}).listen(port, '127.0.0.1')
