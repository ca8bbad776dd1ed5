import { connect } from 'node:net'
import { text } from 'node:stream/consumers'
import t from 'tap'
import { AsciiResponse } from '../../src/http/ascii-response.ts'
import { createServer } from '../../src/http/node-http.ts'

const BODIES = ['', '{"ascii":"only"}', '{"name":"Zażółć 🚀"}', '{"name":"é"}', 'x'.repeat(100_000)]

t.test('every answer has the bytes of its UTF-8 text, and their number as its length (RFC 9110 §8.6)', async t => {
  for (const body of BODIES) {
    const server = createServer({ ServerResponse: AsciiResponse }, (_request, response) => {
      response.writeHead(200, { 'content-length': Buffer.byteLength(body) }).end(body)
    })
    const { promise, resolve } = Promise.withResolvers<void>()
    server.listen(0, '127.0.0.1', resolve)
    await promise
    const address = server.address()
    if (address === null || typeof address === 'string') throw new Error('no port')
    const socket = connect(address.port, '127.0.0.1')
    socket.end('GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
    const answer = await text(socket)
    t.equal(answer.slice(answer.indexOf('\r\n\r\n') + 4), body)
    t.match(answer, `content-length: ${Buffer.byteLength(body)}\r\n`)
    server.close()
  }
})
