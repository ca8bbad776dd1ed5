import type { FastifyInstance } from 'fastify'

/** An honest body, and what was under way when the answer was: more than that is not sent to be read. */
const MAX_UNREAD_BYTES = 65_536

/**
 * Bounds what is taken of a body that nobody reads, because the answer came first: a stranger's, or one to a path
 * that isn't there. Up to the bound it is let in and dropped, so that an honest caller gets to see the answer;
 * then the connection is closed. Call it before the routes are registered.
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
