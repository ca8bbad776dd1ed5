import type { JWK } from 'jose'
import { openText, sealText } from '../sealing/sealed-text.ts'

/** Seals a private JWK, bound to its kid. */
export function sealKey(sealingKey: Buffer, kid: string, privateJwk: JWK): Promise<string> {
  return sealText(sealingKey, kid, JSON.stringify(privateJwk))
}

/** @throws Error that names KEY_ENCRYPTION_KEY when this isn't the key it was sealed with */
export async function openKey(sealingKey: Buffer, kid: string, privateJwe: string): Promise<JWK> {
  const text = await openText(sealingKey, kid, privateJwe)
  if (text !== undefined) return JSON.parse(text)
  throw new Error(`KEY_ENCRYPTION_KEY does not open the signing key ${kid} in the database: it was sealed with another`)
}
