import { calculateJwkThumbprint, decodeJwt } from 'jose'
import t, { type Test } from 'tap'
import { startApp } from '../fixtures/app/app.ts'
import { makeClientKey } from '../fixtures/app/assertion.ts'
import { proofClaims, proofFor, signProof } from '../fixtures/app/dpop.ts'
import type { Answer } from '../fixtures/app/grantd.ts'
import { introspect, registerGateway } from '../fixtures/app/introspection.ts'
import { clause } from './clause.ts'

/** DPoP at the token endpoint: RFC 9449. The checks of a resource server are in examples/dpop.test.ts and fapi2.test.ts. */

const grantd = await startApp(t)
const registration = await grantd.register()
const key = await makeClientKey()
const seconds = () => Math.floor(Date.now() / 1_000)

/** A proof with other claims or another header. A member that is undefined is left out. */
function proof(claims: Record<string, unknown> = {}, header: Record<string, unknown> = {}): string {
  return signProof(key, proofClaims(`${grantd.baseUrl}/oauth/token`, Date.now(), claims), header)
}

function request(dpop: string | string[] | undefined, { clientId, clientSecret } = registration): Promise<Answer> {
  const headers = dpop === undefined ? {} : { dpop }
  return grantd.requestToken({ client_id: clientId, client_secret: clientSecret }, headers)
}

async function isBound(t: Test, dpop: string, message = ''): Promise<void> {
  const { status, json } = await request(dpop)
  t.match({ status, ...json() }, { status: 200, token_type: 'DPoP' }, message)
}

async function isRefused(t: Test, dpop: string | string[], message = ''): Promise<void> {
  const { status, json } = await request(dpop)
  t.match({ status, ...json() }, { status: 400, error: 'invalid_dpop_proof' }, message)
}

clause('9449 §4.3 one-header', async t => isRefused(t, [proof(), proof()]))

clause('9449 §4.3 well-formed', async t => {
  for (const text of ['x', proof().replace('.', ''), `${proof()}.x`, `${proof()} ${proof()}`]) await isRefused(t, text)
})

clause('9449 §4.3 claims', async t => {
  for (const name of ['jti', 'htm', 'htu', 'iat']) await isRefused(t, proof({ [name]: undefined }), name)
})

clause('9449 §4.3 typ', async t => {
  for (const typ of [undefined, 'JWT', 'at+jwt']) await isRefused(t, proof({}, { typ }), typ)
})

clause('9449 §4.3 alg', async t => {
  for (const alg of ['none', 'HS256']) await isRefused(t, proof({}, { alg }), alg)
})

clause('9449 §4.3 signature', async t => {
  await isRefused(t, proof({}, { jwk: (await makeClientKey()).credential.jwk }))
})

clause('9449 §4.3 private', async t => isRefused(t, proof({}, { jwk: key.privateKey.export({ format: 'jwk' }) })))

clause('9449 §4.3 htm', async t => isRefused(t, proof({ htm: 'GET' })))

clause('9449 §4.3 htu', async t => {
  await isRefused(t, proof({ htu: `${grantd.baseUrl}/oauth/secret` }))
  await isBound(t, proof({ htu: `${grantd.baseUrl}/oauth/token?with=query#fragment` }))
  await isBound(t, proof({ htu: `${grantd.baseUrl.replace('http', 'HTTP')}/oauth/%74oken` }))
})

clause('9449 §4.3 iat', async t => {
  for (const iat of [seconds() - 70, seconds() + 20]) await isRefused(t, proof({ iat }), String(iat - seconds()))
})

clause('9449 §5 token-type', async t => isBound(t, proof()))

clause('9449 §5 bearer', async t => {
  const { status, json } = await request(undefined)
  t.match({ status, ...json() }, { status: 200, token_type: 'Bearer' })
})

clause('9449 §5 error', async t => isRefused(t, 'x'))

clause('9449 §5.1 metadata', async t => {
  const { json } = await grantd.send('GET', '/.well-known/oauth-authorization-server')
  const keys = {
    ES256: key,
    EdDSA: await makeClientKey('EdDSA'),
    PS256: await makeClientKey('PS256'),
    RS256: await makeClientKey('RS256')
  }
  const proofs = new Map(Object.entries(keys).map(([alg, own]) => [alg, proofFor(grantd, own)]))
  const claims = proofClaims(`${grantd.baseUrl}/oauth/token`, Date.now())
  proofs.set('Ed25519', signProof(keys.EdDSA, claims, { alg: 'Ed25519' }))
  const listed: string[] = json().dpop_signing_alg_values_supported
  t.same([...listed].sort(), [...proofs.keys()].sort())
  for (const alg of listed) await isBound(t, proofs.get(alg) ?? '', alg)
})

clause('9449 §5.2 bound-only', async t => {
  const bound = await grantd.register({ dpopBound: true })
  const { status, json } = await request(undefined, bound)
  t.match({ status, ...json() }, { status: 400, error: 'invalid_dpop_proof' })
  t.equal((await request(proof(), bound)).json().token_type, 'DPoP')
})

clause('9449 §6.1 jkt', async t => {
  const { access_token: token } = (await request(proof())).json()
  t.same(decodeJwt(token)['cnf'], { jkt: await calculateJwkThumbprint(key.credential.jwk, 'sha256') })
})

clause('9449 §6.2 introspection', async t => {
  const gateway = await registerGateway(grantd)
  const { access_token: token } = (await request(proof())).json()
  const cnf = { jkt: key.credential.keyId }
  t.match((await introspect(grantd, gateway, token)).json(), { active: true, token_type: 'DPoP', cnf })
  const bearer = (await request(undefined)).json().access_token
  const { token_type: type, ...others } = (await introspect(grantd, gateway, bearer)).json()
  t.equal(type, 'Bearer')
  t.notOk('cnf' in others)
})
