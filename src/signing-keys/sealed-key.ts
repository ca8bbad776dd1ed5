import { CompactEncrypt, compactDecrypt, type JWK } from 'jose'

/** Seals a private JWK (JWE: dir, A256GCM), bound to its kid. */
export function sealKey(sealingKey: Buffer, kid: string, privateJwk: JWK): Promise<string> {
  return new CompactEncrypt(Buffer.from(JSON.stringify(privateJwk)))
    .setProtectedHeader({ alg: 'dir', enc: 'A256GCM', kid })
    .encrypt(sealingKey)
}

/** @throws Error that names KEY_ENCRYPTION_KEY when this isn't the key it was sealed with */
export async function openKey(sealingKey: Buffer, kid: string, privateJwe: string): Promise<JWK> {
  const options = { keyManagementAlgorithms: ['dir'], contentEncryptionAlgorithms: ['A256GCM'] }
  try {
    const { plaintext, protectedHeader } = await compactDecrypt(privateJwe, sealingKey, options)
    if (protectedHeader.kid === kid) return JSON.parse(Buffer.from(plaintext).toString())
  } catch {
    // Told below: why it can't be opened is not more than that.
  }
  throw new Error(`KEY_ENCRYPTION_KEY does not open the signing key ${kid} in the database: it was sealed with another`)
}
