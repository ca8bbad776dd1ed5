const REPLY_TIMEOUT_MS = 30_000

/** A page of a browser, spoken to in the DevTools protocol. */
export interface DevTools {
  /** @throws Error when the browser refuses or does not answer */
  send: (method: string, params?: object) => Promise<unknown>
  listen: (listener: (method: string, params: unknown) => void) => void
}

/** Opens a page of the browser at this WebSocket address. */
export async function connectDevTools(address: string): Promise<DevTools> {
  const socket = new WebSocket(address)
  await new Promise((resolve, reject) => {
    socket.addEventListener('open', resolve, { once: true })
    socket.addEventListener('error', () => reject(new Error('Chromium does not take the connection')), { once: true })
  })
  const { send, listen } = speak(socket)
  const targetId = memberOf(await send('Target.createTarget', { url: 'about:blank' }), 'targetId')
  const sessionId = memberOf(await send('Target.attachToTarget', { targetId, flatten: true }), 'sessionId')
  return { listen, send: (method, params) => send(method, params, sessionId) }
}

function speak(socket: WebSocket) {
  const waiting = new Map<unknown, { resolve: (result: unknown) => void; reject: (error: Error) => void }>()
  const listeners: ((method: string, params: unknown) => void)[] = []
  socket.addEventListener('message', ({ data }) => {
    const message: unknown = JSON.parse(String(data))
    const method = memberOf(message, 'method')
    if (typeof method === 'string') for (const listener of listeners) listener(method, memberOf(message, 'params'))
    const failure = memberOf(message, 'error', 'message')
    const reply = waiting.get(memberOf(message, 'id'))
    if (failure === undefined) reply?.resolve(memberOf(message, 'result'))
    else reply?.reject(new Error(String(failure)))
  })
  let lastId = 0
  const send = (method: string, params: object = {}, sessionId?: unknown): Promise<unknown> =>
    new Promise((resolve, reject) => {
      const id = ++lastId
      const timer = setTimeout(() => reject(new Error(`Chromium does not answer ${method}`)), REPLY_TIMEOUT_MS)
      const settle =
        <T>(done: (value: T) => void) =>
        (value: T) => {
          clearTimeout(timer)
          waiting.delete(id)
          done(value)
        }
      waiting.set(id, { resolve: settle(resolve), reject: settle(reject) })
      socket.send(JSON.stringify({ id, method, params, sessionId }))
    })
  return { send, listen: (listener: (method: string, params: unknown) => void) => void listeners.push(listener) }
}

/** Returns the member at the end of a path of names, undefined where there is none. */
export function memberOf(value: unknown, ...names: string[]): unknown {
  return names.reduce<unknown>(
    (inner, name) => (typeof inner === 'object' && inner !== null ? Reflect.get(inner, name) : undefined),
    value
  )
}
