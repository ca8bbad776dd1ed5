import { parentPort } from 'node:worker_threads'
import scalar from '@scalar/fastify-api-reference'
import Fastify from 'fastify'

/*
 * Runs in a worker thread: sends the script of the API reference to the thread that started it. The library is a module of
 * five megabytes. Loading it in the serving thread would stall all requests for a moment.
 */

const app = Fastify()
await app.register(scalar, { routePrefix: '/docs', configuration: { url: 'unused' } })
const { rawPayload } = await app.inject('/docs/js/scalar.js')
const script = new Uint8Array(rawPayload)
parentPort?.postMessage(script, [script.buffer])
