import { randomUUID } from 'node:crypto'
import formbody from '@fastify/formbody'
import { AuthorizationServer, DateInterval, JwtService } from '@jmondi/oauth2-server'
import { handleFastifyError, handleFastifyReply, requestFromFastify } from '@jmondi/oauth2-server/fastify'
import Fastify from 'fastify'
import jwt from 'jsonwebtoken'
import { findClient, issuer, matches, port, privateKey, query, tokenTtlSeconds } from './ground.mjs'

/** @jmondi/oauth2-server on Fastify, its repositories in Postgres. It stores every token. */

const clientRepository = {
  async getByIdentifier(clientId) {
    const client = await findClient(clientId)
    if (client === undefined) throw new Error('no such client')
    return { ...client, name: client.id, redirectUris: [], allowedGrants: client.grants, scopes: [], secret: '-' }
  },
  async isClientValid(grantType, client, clientSecret) {
    return client.allowedGrants.includes(grantType) && matches(clientSecret ?? '', client.secret_sha256)
  }
}

const tokenRepository = {
  async issueToken(client, scopes) {
    return { accessToken: randomUUID(), accessTokenExpiresAt: new Date(), client, scopes }
  },
  async persist({ accessToken, accessTokenExpiresAt, client }) {
    await query('token', 'insert into tokens (access_token, client_id, expires_at) values ($1, $2, $3)', [
      accessToken,
      client.id,
      accessTokenExpiresAt
    ])
  }
}

const scopeRepository = {
  async getAllByIdentifiers() {
    return []
  },
  async finalize(scopes) {
    return scopes
  }
}

/** The library's own signs with jsonwebtoken and no choice of algorithm, which is HS256. */
class Es256 extends JwtService {
  async sign({ iss, aud, sub, ...claims }) {
    return jwt.sign({ ...claims, iss: issuer, aud: issuer, sub: claims.cid }, privateKey, {
      algorithm: 'ES256',
      keyid: 'bench'
    })
  }
}

const server = new AuthorizationServer(clientRepository, tokenRepository, scopeRepository, new Es256(privateKey))
server.enableGrantType('client_credentials', new DateInterval(`${tokenTtlSeconds}s`))
const app = Fastify()
await app.register(formbody)
app.post('/token', async (request, reply) => {
  try {
    handleFastifyReply(reply, await server.respondToAccessTokenRequest(requestFromFastify(request)))
  } catch (error) {
    handleFastifyError(error, reply)
  }
  return reply
})
await app.listen({ host: '127.0.0.1', port })
