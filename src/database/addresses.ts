/** libpq's name for what kind of server is wanted. grantd writes: it never wants another. */
const WANTED = 'target_session_attrs'
const WRITABLE = ['read-write', 'primary']

/** Its message completes "must be …". */
export class UnwantedSession extends Error {
  constructor() {
    super(`a URL with ${WANTED}=${WRITABLE.join(' or ')}, or without it: grantd writes`)
  }
}

/**
 * Takes a connection string with several addresses apart, as libpq writes it:
 * `postgresql://user@a:5432,b:5432/grantd?target_session_attrs=read-write`.
 *
 * @returns a connection string for each address. @throws Error when one can't be read
 */
export function urlsOf(connectionString: string): string[] {
  const [, start = '', addresses = '', rest = ''] =
    /^(postgres(?:ql)?:\/\/(?:[^@/?]*@)?)([^/?]*)(.*)$/s.exec(connectionString) ?? []
  if (!addresses.includes(',')) return [connectionString]
  return addresses.split(',').map(address => {
    if (address === '') throw new Error('an address is empty')
    const url = new URL(`${start}${address}${rest}`)
    const wanted = url.searchParams.get(WANTED)
    if (wanted !== null && !WRITABLE.includes(wanted)) throw new UnwantedSession()
    if (url.searchParams.has('host')) throw new Error('addresses are in two places')
    url.searchParams.delete(WANTED)
    return url.href
  })
}
