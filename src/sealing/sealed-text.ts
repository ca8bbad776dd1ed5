import { CompactEncrypt, compactDecrypt } from 'jose'

/** Seals a text (JWE: dir, A256GCM), bound to the id of what it belongs to. */
export function sealText(sealingKey: Buffer, id: string, text: string): Promise<string> {
  return new CompactEncrypt(Buffer.from(text))
    .setProtectedHeader({ alg: 'dir', enc: 'A256GCM', kid: id })
    .encrypt(sealingKey)
}

/** @returns undefined when it was sealed with another key, or for another id */
export async function openText(sealingKey: Buffer, id: string, jwe: string): Promise<string | undefined> {
  const options = { keyManagementAlgorithms: ['dir'], contentEncryptionAlgorithms: ['A256GCM'] }
  try {
    const { plaintext, protectedHeader } = await compactDecrypt(jwe, sealingKey, options)
    return protectedHeader.kid === id ? Buffer.from(plaintext).toString() : undefined
  } catch {
    // Why it can't be opened is not more than that.
    return undefined
  }
}
