/** Parameter of libpq that says which kind of server is wanted. grantd writes, so it needs the primary. */
const TARGET = 'target_session_attrs'
const WRITABLE = ['read-write', 'primary']

/** The message completes "must be …". */
export class UnsupportedTarget extends Error {
  constructor() {
    super(`a URL with ${TARGET}=${WRITABLE.join(' or ')}, or without it, because grantd writes`)
  }
}

/**
 * Splits a connection string with several addresses, as libpq writes it:
 * `postgresql://user@a:5432,b:5432/grantd?target_session_attrs=read-write`.
 *
 * @returns a connection string for each address
 * @throws Error when an address cannot be parsed; UnsupportedTarget
 */
export function addressesOf(connectionString: string): string[] {
  return split(verifying(connectionString))
}

/**
 * Names what node-postgres does with `prefer`, `require` and `verify-ca` unless `uselibpqcompat=true` stands beside them:
 * it verifies the certificate and the host name. With these names it prints a warning at each connection.
 */
function verifying(connectionString: string): string {
  if (/[?&]uselibpqcompat=true/.test(connectionString)) return connectionString
  return connectionString.replace(/([?&]sslmode=)(prefer|require|verify-ca)(?=&|$)/, '$1verify-full')
}

function split(connectionString: string): string[] {
  const [, start = '', addresses = '', rest = ''] =
    /^(postgres(?:ql)?:\/\/(?:[^@/?]*@)?)([^/?]*)(.*)$/s.exec(connectionString) ?? []
  if (!addresses.includes(',')) return [connectionString]
  return addresses.split(',').map(address => {
    if (address === '') throw new Error('an address is empty')
    const url = new URL(`${start}${address}${rest}`)
    const target = url.searchParams.get(TARGET)
    if (target !== null && !WRITABLE.includes(target)) throw new UnsupportedTarget()
    if (url.searchParams.has('host')) throw new Error('addresses are in two places')
    url.searchParams.delete(TARGET)
    return url.href
  })
}
