import { generateKeyPairSync, type KeyObject, randomBytes } from 'node:crypto'
import { decodeJwt, decodeProtectedHeader, type JWTPayload, SignJWT } from 'jose'
import type { Test } from 'tap'
import { Sealing } from '../../src/crypto/key-encryption.ts'
import { loadKeySet } from '../../src/signing-keys/key-set.ts'
import { startApp } from '../fixtures/app/app.ts'
import { createDatabase, openTestDatabase } from '../fixtures/app/database.ts'
import type { Grantd } from '../fixtures/app/grantd.ts'

/** The API in the examples of docs/resource-servers.md. */
export const AUDIENCE = 'https://devices.example.com'
export const SCOPE = 'devices:read'
const OTHER_AUDIENCE = 'https://billing.example.com'
const OTHER_SCOPE = 'devices:write'

/** Tokens of one issuer, for AUDIENCE, SCOPE and the Site `acme` where nothing else is said. */
export interface Tokens {
  grantd: Grantd
  /** The URL of the issuer. */
  issuer: string
  /** The registration that the good token is for. */
  client: { clientId: string; clientSecret: string; path: string }
  good: string
  /** Tokens that a verifier must reject, by what is wrong with them. */
  rejected: Record<string, string | undefined>
  /** Returns a token with other claims, signed by the key of grantd. */
  sign: (claims: JWTPayload, typ?: string) => Promise<string>
}

/** A token that only its `typ` tells from an access token (RFC 9068 §4). Some verifiers cannot look at it. */
export const OTHER_TYPE = 'a JWT of another type, signed by the same key'

/**
 * Starts grantd. Returns a token that a verifier must accept, and tokens that it must reject.
 *
 * @param issuer the URL of grantd by default
 */
export async function startIssuer(t: Test, issuer?: string): Promise<Tokens> {
  const databaseUrl = await createDatabase(t)
  const db = openTestDatabase(t, databaseUrl)
  const sealing = new Sealing(randomBytes(32))
  const keySet = await loadKeySet({ db, sealing, algorithm: 'ES256', rotationDays: 90, now: Date.now })
  const environment = issuer === undefined ? {} : { ISSUER: issuer }
  const grantd = await startApp(t, { databaseUrl, keySet, environment })
  const members = { scopes: [SCOPE, OTHER_SCOPE], audiences: [AUDIENCE, OTHER_AUDIENCE] }
  const client = await grantd.register(members)
  const tokenOf = async ({ clientId, clientSecret }: typeof client, parameters = {}): Promise<string> => {
    const credentials = { client_id: clientId, client_secret: clientSecret }
    const answer = await grantd.requestToken({ ...credentials, resource: AUDIENCE, scope: SCOPE, ...parameters })
    return answer.json().access_token
  }
  const good = await tokenOf(client)
  const claims = decodeJwt(good)
  const { alg, kid } = decodeProtectedHeader(good)
  const signBy = (key: KeyObject, payload: JWTPayload, typ: string) =>
    new SignJWT(payload).setProtectedHeader({ alg: String(alg), kid: String(kid), typ }).sign(key)
  const sign = (others: JWTPayload, typ = 'at+jwt') => signBy(keySet.active.privateKey, { ...claims, ...others }, typ)
  const { privateKey: stranger } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const [header = '', payload = '', signature = ''] = good.split('.')
  const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
  const now = Math.floor(Date.now() / 1_000)
  const rejected = {
    'no token': undefined,
    'a token for another audience': await tokenOf(client, { resource: OTHER_AUDIENCE }),
    'a token without the scope': await tokenOf(client, { scope: OTHER_SCOPE }),
    'a token of another Site': await tokenOf(await grantd.register(members, 'umbrella')),
    'a token of another issuer, signed by the same key': await sign({ iss: 'https://other.example.com' }),
    'a token that another key signed': await signBy(stranger, claims, 'at+jwt'),
    'an expired token': await sign({ iat: now - 7_200, exp: now - 3_600 }),
    'a token that is bound to a key, as a Bearer token': await sign({
      cnf: { jkt: randomBytes(32).toString('base64url') }
    }),
    'a changed token': `${header}.${encode({ ...claims, sub: 'eve' })}.${signature}`,
    'an unsigned token': `${encode({ alg: 'none', typ: 'at+jwt' })}.${payload}.`,
    [OTHER_TYPE]: await sign({}, 'JWT')
  }
  return { grantd, issuer: issuer ?? grantd.baseUrl, client, good, rejected, sign }
}
