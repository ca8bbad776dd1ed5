import { generateKeyPairSync } from 'node:crypto'
import path from 'node:path'
import { pathToFileURL } from 'node:url'
import t from 'tap'
import { startApp } from '../fixtures/app/app.ts'
import { startDevicesApi } from '../fixtures/app/devices-api.ts'
import { ROOT } from '../fixtures/run/paths.ts'

/** The SDK is not among the packages of grantd. `npm run test:clients` installs it here. */
const SDK = path.join(ROOT, 'node_modules/.cache/clients/node_modules/@modelcontextprotocol/sdk/dist/esm/client')
const { auth } = await import(pathToFileURL(path.join(SDK, 'auth.js')).href)
const { ClientCredentialsProvider, PrivateKeyJwtProvider } = await import(
  pathToFileURL(path.join(SDK, 'auth-extensions.js')).href
)

const PUBLISHED = { PUBLISH_AUTHORIZATION_ENDPOINT: 'true' }

for (const kind of ['secret', 'key'] as const) {
  t.test(
    `the MCP SDK, unmodified, finds grantd by the resource and gets a token for that resource, with a ${kind}`,
    async t => {
      const grantd = await startApp(t, { environment: PUBLISHED })
      const { audience, listDevices } = await startDevicesApi(t, grantd.baseUrl)
      const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
      const members = { scopes: ['devices:read'], audiences: ['other', audience] }
      const { clientId, clientSecret, path: registration } = await grantd.register(members)
      const common = { clientId, expectedIssuer: grantd.baseUrl }
      if (kind === 'key') {
        const body = { publicKey: publicKey.export({ format: 'jwk' }) }
        t.equal((await grantd.asAdmin('POST', `${registration}/rotate-secret`, { body })).status, 201)
      }
      const provider =
        kind === 'secret'
          ? new ClientCredentialsProvider({ ...common, clientSecret })
          : new PrivateKeyJwtProvider({
              ...common,
              privateKey: privateKey.export({ format: 'jwk' }),
              algorithm: 'ES256'
            })
      t.equal(await auth(provider, { serverUrl: audience }), 'AUTHORIZED')
      t.equal((await listDevices('acme', provider.tokens().access_token)).status, 200)
    }
  )
}

t.test('the MCP SDK rejects metadata without authorization_endpoint, which is why grantd can publish one', async t => {
  const grantd = await startApp(t)
  const { audience } = await startDevicesApi(t, grantd.baseUrl)
  const { clientId, clientSecret } = await grantd.register({ audiences: [audience] })
  const provider = new ClientCredentialsProvider({ clientId, clientSecret, expectedIssuer: grantd.baseUrl })
  await t.rejects(auth(provider, { serverUrl: audience }), /authorization_endpoint/)
})
