import type { FastifyInstance } from 'fastify'

/** Room for an honest body, and for bytes that were on their way when the answer was sent. */
const MAX_UNREAD_BYTES = 65_536

/**
 * Bounds the bytes of a body that grantd does not read because it has answered already, for example with 401 or 404. Up to
 * the bound they are discarded, so that an honest caller can read the answer. Then the connection is closed.
 * Call it before the routes are registered.
 */
export function limitUnreadBodies(app: FastifyInstance): void {
  app.addHook('onSend', ({ raw }, _reply, payload, done) => {
    if (!raw.complete && raw.readableFlowing === null) {
      let bytes = 0
      raw.on('data', chunk => {
        bytes += chunk.length
        if (bytes > MAX_UNREAD_BYTES) raw.socket.destroySoon()
      })
    }
    done(null, payload)
  })
}
