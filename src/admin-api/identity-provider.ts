import { keyFetcher } from '../issuer-keys/discovery.ts'
import { IssuerKeys, type IssuerLog } from '../issuer-keys/issuer-keys.ts'
import { SECOND_MS } from '../time.ts'
import type { TrustedIssuer } from './admin-token.ts'

interface IdentityProvider {
  issuer: string
  audience: string
  /** Undefined when the discovery document of the issuer names it. */
  jwksUri: string | undefined
  /** Whether its keys may come by plain http from this machine. */
  allowsLoopback: boolean
}

/** An administrator waits for a whole fetch: two discovery documents and the key set, for 5 s each. */
const MAX_WAIT_MS = 15 * SECOND_MS

/** Trusts the company's identity provider. Nothing is fetched before the first token comes. */
export function trustIdentityProvider(provider: IdentityProvider, log: IssuerLog): TrustedIssuer {
  const { issuer, audience } = provider
  const { find: keys } = new IssuerKeys({ issuer, fetchKeys: keyFetcher(provider), maxWaitMs: MAX_WAIT_MS, log })
  return { issuer, audience, keys }
}
