import { existsSync } from 'node:fs'
import path from 'node:path'
import { exportJWK, generateKeyPair, importJWK, type JWK, SignJWT } from 'jose'
import type { TrustedIssuer } from '../admin-api/admin-token.ts'
import { keepSecretFile } from './secret-file.ts'

/** The `iss` of admin tokens in development mode. No identity provider has it. */
const ISSUER = 'urn:grantd:development'
const AUDIENCE = 'grantd-admin'
const ALGORITHM = 'EdDSA'
const LIFETIME = '12 hours'

/** In development mode grantd itself signs the tokens of administrators, with a key in its data folder. */
export interface DevelopmentMode {
  trusted: TrustedIssuer
  /** @param sites ids, or `*` for all */
  signToken: (sites: readonly string[]) => Promise<string>
}

/** Has an instance run in development mode with this data folder? */
export function isDevelopmentFolder(dataFolder: string): boolean {
  return existsSync(keyFileOf(dataFolder))
}

function keyFileOf(dataFolder: string): string {
  return path.join(dataFolder, 'development-admin-key.json')
}

/** Opens development mode with the key in this data folder. Creates the key on first use. */
export async function openDevelopmentMode(dataFolder: string, sitesClaim: string): Promise<DevelopmentMode> {
  const text = await keepSecretFile(keyFileOf(dataFolder), async () => {
    const { privateKey } = await generateKeyPair(ALGORITHM, { extractable: true })
    return JSON.stringify(await exportJWK(privateKey))
  })
  const { d: _private, ...publicJwk }: JWK = JSON.parse(text)
  const publicKey = await importJWK(publicJwk, ALGORITHM)
  const privateKey = await importJWK(JSON.parse(text), ALGORITHM)
  return {
    trusted: { issuer: ISSUER, audience: AUDIENCE, keys: async () => publicKey },
    signToken: sites =>
      new SignJWT({ [sitesClaim]: sites })
        .setProtectedHeader({ alg: ALGORITHM })
        .setIssuer(ISSUER)
        .setAudience(AUDIENCE)
        .setSubject('developer')
        .setIssuedAt()
        .setExpirationTime(LIFETIME)
        .sign(privateKey)
  }
}
