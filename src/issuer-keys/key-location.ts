import { lookup } from 'node:dns/promises'
import { isLoopback } from '../http/loopback.ts'
import { isPublicAddress } from '../http/public-address.ts'

interface KeyLocation {
  issuer: string
  /** As the discovery document of the issuer has it. */
  jwksUri: unknown
  /** Whether keys may come by plain http from this machine. */
  allowsLoopback: boolean
}

/** Returns the addresses of a host name, or the address that is given in its place. */
type LookUp = (host: string) => Promise<readonly { address: string }[]>

/**
 * Checks where an issuer says that its keys are: at an https URL, and not in the internal network, unless the issuer is
 * there too. The certificate of an https URL holds the name to its host, so that the address cannot change afterwards.
 *
 * @throws Error that says what is wrong; the error of the name server
 */
export async function checkKeyLocation(
  { issuer, jwksUri, allowsLoopback }: KeyLocation,
  lookUp: LookUp = host => lookup(host, { all: true })
): Promise<string> {
  if (typeof jwksUri !== 'string' || !URL.canParse(jwksUri)) throw new Error(`${issuer} publishes no jwks_uri`)
  if (!jwksUri.startsWith('https:') && !(allowsLoopback && isLoopback(jwksUri))) {
    throw new Error(`the jwks_uri of ${issuer} is not https`)
  }
  const [own, host] = [hostOf(issuer), hostOf(jwksUri)]
  if (host !== own && !(await isPublicHost(host, lookUp)) && (await isPublicHost(own, lookUp))) {
    throw new Error(`the jwks_uri of ${issuer} leads to an address that is not public`)
  }
  return jwksUri
}

function hostOf(url: string): string {
  return new URL(url).hostname.replace(/^\[(.*)\]$/, '$1')
}

async function isPublicHost(host: string, lookUp: LookUp): Promise<boolean> {
  const addresses = await lookUp(host)
  return addresses.every(({ address }) => isPublicAddress(address))
}
