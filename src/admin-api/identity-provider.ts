import { keyFetcher } from '../issuer-keys/discovery.ts'
import { IssuerKeys, type IssuerLog } from '../issuer-keys/issuer-keys.ts'
import type { TrustedIssuer } from './admin-token.ts'

interface IdentityProvider {
  issuer: string
  audience: string
  /** Undefined when the discovery document of the issuer names it. */
  jwksUri: string | undefined
  /** Whether its keys may come by plain http from this machine. */
  allowsLoopback: boolean
}

/** Trusts the company's identity provider. Nothing is fetched before the first token comes. */
export function trustIdentityProvider(provider: IdentityProvider, log: IssuerLog): TrustedIssuer {
  const { issuer, audience } = provider
  const { find: keys } = new IssuerKeys({ issuer, fetchKeys: keyFetcher(provider), log })
  return { issuer, audience, keys }
}
