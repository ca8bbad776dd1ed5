import Provider from 'oidc-provider'
import { issuer, port, privateKey, query, tokenTtlSeconds } from './ground.mjs'

/** oidc-provider with the adapter that its documentation describes, on one table; JWT access tokens, ES256. */

class PostgresAdapter {
  constructor(model) {
    this.model = model
  }

  async find(id) {
    const [row] = await query(
      'find',
      `select payload, consumed_at from oidc_payloads
       where model = $1 and id = $2 and (expires_at is null or expires_at > now())`,
      [this.model, id]
    )
    return row && { ...row.payload, ...(row.consumed_at !== null && { consumed: true }) }
  }

  async upsert(id, payload, expiresIn) {
    await query(
      'upsert',
      `insert into oidc_payloads (model, id, payload, expires_at)
       values ($1, $2, $3, now() + make_interval(secs => $4))
       on conflict (model, id) do update set payload = excluded.payload, expires_at = excluded.expires_at`,
      [this.model, id, JSON.stringify(payload), expiresIn]
    )
  }

  async destroy(id) {
    await query('destroy', 'delete from oidc_payloads where model = $1 and id = $2', [this.model, id])
  }
}

const provider = new Provider(issuer, {
  adapter: PostgresAdapter,
  clientDefaults: {
    grant_types: ['client_credentials'],
    response_types: [],
    redirect_uris: [],
    token_endpoint_auth_method: 'client_secret_post',
    id_token_signed_response_alg: 'ES256'
  },
  cookies: { keys: ['bench'] },
  jwks: { keys: [{ ...privateKey.export({ format: 'jwk' }), alg: 'ES256', use: 'sig', kid: 'bench' }] },
  ttl: { ClientCredentials: tokenTtlSeconds },
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => issuer,
      useGrantedResource: () => true,
      getResourceServerInfo: () => ({
        scope: '',
        audience: issuer,
        accessTokenTTL: tokenTtlSeconds,
        accessTokenFormat: 'jwt',
        jwt: { sign: { alg: 'ES256' } }
      })
    }
  }
})
provider.listen(port, '127.0.0.1')
