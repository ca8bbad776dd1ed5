import { errors, type JWTVerifyGetKey } from 'jose'

/** Asymmetric algorithms only: with a shared secret, grantd could also sign (RFC 8725 §3.1). */
export const ALGORITHMS = [
  ...['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'],
  ...['ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519']
]

/** A key set without `kid` may have the keys of a few rotations for each algorithm. More are not tried. */
const MAX_KEYS_TRIED = 10

/**
 * Verifies with the key of a token. A token without `kid` is verified with each key of its type, and so are keys that
 * share a `kid`.
 *
 * @param verify verifies the token, with the one key that is found or with the given key
 * @throws JWSSignatureVerificationFailed when no key fits; what `keys` and `verify` throw
 */
export async function verifyWithEachKey<Result>(
  keys: JWTVerifyGetKey,
  verify: (keys: JWTVerifyGetKey) => Promise<Result>
): Promise<Result> {
  try {
    return await verify(keys)
  } catch (error) {
    if (!(error instanceof errors.JWKSMultipleMatchingKeys)) throw error
    let tried = 0
    for await (const key of error) {
      if (++tried > MAX_KEYS_TRIED) break
      try {
        return await verify(async () => key)
      } catch (reason) {
        if (!(reason instanceof errors.JWSSignatureVerificationFailed)) throw reason
      }
    }
    throw new errors.JWSSignatureVerificationFailed()
  }
}

/** A `typ` may leave out `application/` (RFC 7515 §4.1.9). */
export function mediaTypeOf(type: string | undefined): string {
  return (type ?? '').toLowerCase().replace(/^application\//, '')
}
