import { ServerResponse } from './node-http.ts'

/**
 * A response that sends an ASCII body with its head as one Latin-1 string. Node writes both as UTF-8 otherwise, and
 * encodes each character although no byte changes.
 */
export class AsciiResponse extends ServerResponse {
  override end(...args: unknown[]): this {
    const [body] = args
    // Only ASCII has as many bytes in UTF-8 as it has characters.
    if (typeof body === 'string' && Buffer.byteLength(body) === body.length) args[1] = 'latin1'
    return Reflect.apply(super.end, this, args)
  }
}
