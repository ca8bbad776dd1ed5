import { randomUUID } from 'node:crypto'
import OAuth2Server from '@node-oauth/oauth2-server'
import express from 'express'
import { SignJWT } from 'jose'
import { findClient, issuer, matches, port, privateKey, query, tokenTtlSeconds } from './ground.mjs'

/** @node-oauth/oauth2-server on Express, its model in Postgres, JWTs by jose. STORE=1: each token is a row. */
const isStored = process.env.STORE === '1'

const model = {
  async getClient(clientId, clientSecret) {
    const client = await findClient(clientId)
    return client !== undefined && matches(clientSecret, client.secret_sha256) ? client : false
  },
  async getUserFromClient(client) {
    return { id: client.id }
  },
  async generateAccessToken(client) {
    return new SignJWT({ client_id: client.id })
      .setProtectedHeader({ typ: 'at+jwt', alg: 'ES256', kid: 'bench' })
      .setIssuer(issuer)
      .setSubject(client.id)
      .setAudience(issuer)
      .setIssuedAt()
      .setExpirationTime(`${tokenTtlSeconds}s`)
      .setJti(randomUUID())
      .sign(privateKey)
  },
  async saveToken(token, client, user) {
    if (isStored) {
      await query('token', 'insert into tokens (access_token, client_id, expires_at) values ($1, $2, $3)', [
        token.accessToken,
        client.id,
        token.accessTokenExpiresAt
      ])
    }
    return { ...token, client, user }
  }
}

const server = new OAuth2Server({ model, accessTokenLifetime: tokenTtlSeconds })
const app = express()
app.disable('x-powered-by')
app.use(express.urlencoded({ extended: false }))
app.post('/token', async (incoming, outgoing) => {
  const request = new OAuth2Server.Request(incoming)
  const response = new OAuth2Server.Response(outgoing)
  try {
    await server.token(request, response)
  } catch {
    // The response has the error.
  }
  outgoing.set(response.headers).status(response.status).json(response.body)
})
app.listen(port, '127.0.0.1')
