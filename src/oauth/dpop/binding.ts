import type { ProofFault } from '../client-authentication/credential-proof.ts'
import { parseSignedJwt } from '../client-authentication/signed-jwt.ts'
import { OAuthError } from '../oauth-error.ts'
import { findClaimFault, findHeaderFault, type ProofContext } from './proof-checks.ts'
import { readProofKey } from './proof-key.ts'

/** Thumbprint of the key that a token is bound to, undefined for a bearer token. Or why no token is issued. */
export type BindingDecision = { readonly granted: string | undefined } | { readonly fault: ProofFault }

/**
 * Decides to which key a token is bound (RFC 9449 §5): to that of the DPoP proof. Without a proof it is a bearer token,
 * unless the registration refuses those.
 *
 * A proof is verified only for a client that is authenticated, so a fault may be named. Nothing is remembered: a proof
 * that was sent before is valid again until it is too old. It yields a token that only the holder of the key can use.
 *
 * @param proof value of the DPoP header; Node joins a second one to the first with a comma
 * @param isRequired whether the registration has `dpopBound`
 */
export function decideBinding(
  proof: string | undefined,
  isRequired: boolean,
  tokenEndpoint: string,
  now: number
): BindingDecision {
  if (proof === undefined) return isRequired ? MISSING : UNBOUND
  return verifyProof(proof, { tokenEndpoint, now })
}

/** @throws OAuthError `invalid_dpop_proof` (RFC 9449 §5) */
export function requireBinding(decision: BindingDecision): string | undefined {
  if ('granted' in decision) return decision.granted
  const { reason, description } = decision.fault
  throw new OAuthError(400, 'invalid_dpop_proof', description, reason)
}

/** An RSA key of 4,096 bits and its signature take half of it. */
export const MAX_PROOF_LENGTH = 4_096

const UNBOUND: BindingDecision = { granted: undefined }
const MISSING = refused('no_dpop_proof', 'This client must send a DPoP proof with each token request.')
const MALFORMED = refused(
  'malformed_dpop_proof',
  `Send one DPoP header, with one signed JWT of at most ${MAX_PROOF_LENGTH} characters.`
)
const WRONG = refused('wrong_dpop_proof', 'The key in jwk has not made the signature of the proof, by this alg.')

/** Makes the checks of RFC 9449 §4.3 in the order that proof-checks.ts lists. */
function verifyProof(text: string, context: ProofContext): BindingDecision {
  const proof = text.length > MAX_PROOF_LENGTH ? undefined : parseSignedJwt(text)
  if (proof === undefined) return MALFORMED
  const headerFault = findHeaderFault(proof)
  if (headerFault !== undefined) return { fault: headerFault }
  const key = readProofKey(proof)
  if ('fault' in key) return key
  if (!key.hasSigned(proof)) return WRONG
  const claimFault = findClaimFault(proof, context)
  return claimFault === undefined ? { granted: key.thumbprint } : { fault: claimFault }
}

function refused(reason: ProofFault['reason'], description: string): BindingDecision {
  return { fault: { reason, description } }
}
