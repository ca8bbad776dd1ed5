import { type JWTPayload, SignJWT, UnsecuredJWT } from 'jose'
import t from 'tap'
import { startApp } from '../fixtures/app/app.ts'
import { COLLECTION } from '../fixtures/app/registration.ts'
import { AUDIENCE, makeKey } from '../fixtures/peers/identity-provider.ts'
import { clause } from './clause.ts'

/** The admin API as a resource server: bearer tokens by RFC 6750, which are JWTs by RFC 7519. */

const ISSUER = 'https://identity.example.com'
const key = await makeKey('ES256', 'key')
const grantd = await startApp(t, { trusted: { issuer: ISSUER, audience: AUDIENCE, keys: async () => key.publicKey } })
const inSeconds = (seconds: number) => Math.floor(Date.now() / 1_000) + seconds

function claims(members: JWTPayload = {}): JWTPayload {
  return { iss: ISSUER, aud: AUDIENCE, sub: 'ada', exp: inSeconds(300), site_admin: ['acme'], ...members }
}

function sign(members: JWTPayload = {}): Promise<string> {
  return new SignJWT(claims(members)).setProtectedHeader({ alg: 'ES256' }).sign(key.privateKey)
}

function list(token?: string, query = '') {
  return grantd.send('GET', COLLECTION + query, {
    headers: token === undefined ? {} : { authorization: `Bearer ${token}` }
  })
}

async function isInvalidToken(token: string): Promise<boolean> {
  const { status, headers } = await list(token)
  return status === 401 && /^Bearer .*error="invalid_token"/.test(String(headers['www-authenticate']))
}

clause('6750 §2.1 header', async t => {
  t.equal((await list(await sign())).status, 200)
})

clause('6750 §2.3 query', async t => {
  t.not((await list(undefined, `?access_token=${await sign()}`)).status, 200)
})

clause('6750 §3 challenge', async t => {
  const { status, headers } = await list()
  t.equal(status, 401)
  t.match(headers['www-authenticate'], /^Bearer\b/)
})

clause('6750 §3.1 no-error-code', async t => {
  t.notMatch((await list()).headers['www-authenticate'], /error/)
})

clause('6750 §3.1 invalid-token', async t => {
  t.ok(await isInvalidToken('not-a-token'))
})

clause('6750 §3.1 insufficient-scope', async t => {
  const { status, headers } = await list(await sign({ site_admin: [] }))
  t.equal(status, 403)
  t.match(headers['www-authenticate'], /error="insufficient_scope"/)
})

clause('7519 §4.1.3 aud', async t => {
  t.ok(await isInvalidToken(await sign({ aud: 'another' })))
})

clause('7519 §4.1.4 exp', async t => {
  t.ok(await isInvalidToken(await sign({ exp: inSeconds(-90) })))
})

clause('7519 §4.1.5 nbf', async t => {
  t.ok(await isInvalidToken(await sign({ nbf: inSeconds(90) })))
})

clause('7519 §6 unsecured', async t => {
  t.ok(await isInvalidToken(new UnsecuredJWT(claims()).encode()))
})
