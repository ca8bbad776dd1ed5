import { createHash } from 'node:crypto'
import { getMigrations } from 'better-auth/db/migration'
import { auth } from './better-auth-server.mjs'

/** Creates the tables of Better Auth and its clients: CLIENT_IDS, by commas, whose secret is CLIENT_SECRET. */
const { CLIENT_IDS, CLIENT_SECRET } = process.env
await (await getMigrations(auth.options)).runMigrations()
const { adapter } = await auth.$context
await adapter.create({ model: 'oauthResource', data: { identifier: 'https://bench.example', name: 'bench' } })
for (const clientId of CLIENT_IDS.split(',')) {
  await adapter.create({
    model: 'oauthClient',
    data: {
      clientId,
      // As the provider stores it: SHA-256 in base64url.
      clientSecret: createHash('sha256').update(CLIENT_SECRET).digest('base64url'),
      clientCredentialsScopes: ['bench'],
      grantTypes: ['client_credentials'],
      tokenEndpointAuthMethod: 'client_secret_post',
      redirectUris: [],
      createdAt: new Date(),
      updatedAt: new Date()
    }
  })
}
process.exit(0)
