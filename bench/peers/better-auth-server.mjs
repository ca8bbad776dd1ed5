import { oauthProvider } from '@better-auth/oauth-provider'
import { betterAuth } from 'better-auth'
import { jwt } from 'better-auth/plugins'
import pg from 'pg'
import { issuer, tokenTtlSeconds } from './ground.mjs'

/** Better Auth with its OAuth provider on Postgres; JWT access tokens, ES256. */
export const auth = betterAuth({
  baseURL: issuer,
  basePath: '/auth',
  secret: 'a secret of the bench, which protects nothing',
  database: new pg.Pool({ connectionString: process.env.DATABASE_URL, max: 10 }),
  logger: { disabled: true },
  telemetry: { enabled: false },
  rateLimit: { enabled: false },
  plugins: [
    jwt({ jwks: { keyPairConfig: { alg: 'ES256' }, disablePrivateKeyEncryption: true }, jwt: { issuer } }),
    oauthProvider({
      loginPage: '/login',
      consentPage: '/consent',
      scopes: ['bench'],
      m2mAccessTokenExpiresIn: tokenTtlSeconds,
      enforcePerClientResources: false,
      silenceWarnings: { oauthAuthServerConfig: true, openidConfig: true }
    })
  ]
})
