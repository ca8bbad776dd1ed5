import { sign } from 'node:crypto'
import t, { type Test } from 'tap'
import { startApp } from '../fixtures/app/app.ts'
import {
  ASSERTION_TYPE,
  claimsOf,
  makeClientKey,
  registerKeyClient,
  requestWithAssertion,
  signAssertion
} from '../fixtures/app/assertion.ts'
import { clause } from './clause.ts'

/** Client authentication by assertions: RFC 7521, RFC 7523, and RFC 8725 for the JWT. */

const grantd = await startApp(t)
const client = await registerKeyClient(grantd)
const seconds = () => Math.floor(Date.now() / 1_000)

async function isAccepted(t: Test, assertion: string): Promise<void> {
  t.equal((await requestWithAssertion(grantd, assertion)).status, 200)
}

async function isRefused(t: Test, assertion: string): Promise<void> {
  const answer = await requestWithAssertion(grantd, assertion)
  t.match({ status: answer.status, error: answer.json().error }, { status: 401, error: 'invalid_client' })
}

clause('7521 §4.2 one-method', async t => {
  const assertion = { client_assertion_type: ASSERTION_TYPE, client_assertion: await client.sign() }
  const answer = await grantd.requestToken({ ...assertion, client_id: client.clientId, client_secret: 'x' })
  t.match({ status: answer.status, error: answer.json().error }, { status: 400, error: 'invalid_request' })
})

clause('7521 §4.2 type', async t => {
  await isAccepted(t, await client.sign())
  for (const type of ['', `${ASSERTION_TYPE}x`, 'urn:ietf:params:oauth:client-assertion-type:saml2-bearer']) {
    const answer = await grantd.requestToken({ client_assertion_type: type, client_assertion: await client.sign() })
    t.equal(answer.status, 401, type)
  }
})

clause('7521 §4.2 client-id', async t => {
  const withId = (client_id: string, assertion: string) => requestWithAssertion(grantd, assertion, { client_id })
  t.equal((await withId(client.clientId, await client.sign())).status, 200)
  t.equal((await withId('0'.repeat(20), await client.sign())).json().error, 'invalid_request')
})

clause('7521 §4.2.1 error', async t => {
  const { status, headers, json } = await requestWithAssertion(grantd, await client.sign({ aud: 'x' }))
  t.equal(status, 401)
  t.ok(headers['www-authenticate'])
  t.match(json(), { error: 'invalid_client', error_description: /^aud must be/ })
})

clause('7523 §2.2 assertion', async t => {
  const assertion = await client.sign()
  await isRefused(t, `${assertion} ${assertion}`)
  await isRefused(t, `${assertion},${assertion}`)
  await isAccepted(t, assertion)
})

clause('7523 §3 iss-sub', async t => {
  for (const claims of [{ iss: undefined }, { sub: undefined }, { iss: 'x' }, { sub: 'x' }]) {
    await isRefused(t, await client.sign(claims))
  }
})

clause('7523 §3 aud', async t => {
  for (const aud of [undefined, 'https://other.example', [grantd.baseUrl, 'https://other.example']]) {
    await isRefused(t, await client.sign({ aud }))
  }
})

clause('7523 §3 exp', async t => {
  for (const exp of [undefined, seconds() - 1]) await isRefused(t, await client.sign({ exp }))
})

clause('7523 §3 nbf', async t => {
  await isRefused(t, await client.sign({ nbf: seconds() + 60 }))
  await isAccepted(t, await client.sign({ nbf: seconds() }))
})

clause('7523 §3 iat', async t => {
  await isRefused(t, await client.sign({ iat: seconds() - 301 }))
  await isAccepted(t, await client.sign({ iat: seconds() - 200 }))
})

clause('7523 §3 jti', async t => {
  const assertion = await client.sign()
  await isAccepted(t, assertion)
  await isRefused(t, assertion)
})

clause('7523 §3 signature', async t => {
  const claims = claimsOf(client.clientId, grantd.baseUrl, Date.now())
  await isRefused(t, await signAssertion(await makeClientKey(), claims))
  await isAccepted(t, await signAssertion(client.key, claims))
})

clause('8725 §3.1 algorithm', async t => {
  const rsa = await registerKeyClient(grantd, {}, { key: await makeClientKey('PS256') })
  const [, claims] = (await rsa.sign()).split('.')
  const input = `${Buffer.from('{"alg":"RS256"}').toString('base64url')}.${claims}`
  await isRefused(t, `${input}.${sign('sha256', Buffer.from(input), rsa.key.privateKey).toString('base64url')}`)
  await isAccepted(t, await rsa.sign())
})

clause('8725 §3.2 none', async t => {
  const [, claims] = (await client.sign()).split('.')
  const header = Buffer.from('{"alg":"none"}').toString('base64url')
  await isRefused(t, `${header}.${claims}.`)
  await isRefused(t, `${header}.${claims}.AAAA`)
})

clause('8725 §3.10 claims', async t => {
  await isAccepted(
    t,
    await client.sign({}, { kid: '../../etc/passwd', jku: 'http://127.0.0.1:1/', x5u: 'http://127.0.0.1:1/' })
  )
})

clause('8725 §3.11 typ', async t => {
  await isRefused(t, await client.sign({}, { typ: 'at+jwt' }))
  await isAccepted(t, await client.sign({}, { typ: 'client-authentication+jwt' }))
})

clause('8725 §3.12 kinds', async t => {
  const { access_token: token } = (await requestWithAssertion(grantd, await client.sign())).json()
  await isRefused(t, token)
})
