import { createPublicKey, generateKeyPairSync } from 'node:crypto'
import fc from 'fast-check'
import t from 'tap'
import type { RotatingKeySet } from '../../src/signing-keys/key-set.ts'
import { startApp } from '../fixtures/app/app.ts'
import { introspect, postForm, registerGateway, tokenOf } from '../fixtures/app/introspection.ts'

const INACTIVE = '{"active":false}'

/** A key set of one key. Counts how often it is asked for the key of a token. */
function countingKeySet() {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const header = Buffer.from(JSON.stringify({ typ: 'at+jwt', alg: 'ES256', kid: 'k' })).toString('base64url')
  let asked = 0
  const keySet: RotatingKeySet = {
    active: { kid: 'k', algorithm: 'ES256', privateKey, header },
    activeKid: 'k',
    activeTimes: undefined,
    published: async () => [],
    verificationKey: kid => {
      asked++
      return kid === 'k' ? { algorithm: 'ES256', publicKey: createPublicKey(privateKey) } : undefined
    },
    learn: async () => {},
    cacheSeconds: () => 0,
    refresh: async () => {}
  }
  return { keySet, asked: () => asked }
}

// [INTROSPECT-7]
t.test('a registration without mayIntrospect cannot make the service verify signatures', async t => {
  const { keySet, asked } = countingKeySet()
  const grantd = await startApp(t, { keySet })
  const client = await grantd.register()
  const token = await tokenOf(grantd, client)
  const answers = await Promise.all(Array.from({ length: 200 }, () => introspect(grantd, client, token)))
  t.ok(answers.every(({ status, text }) => status === 200 && text === INACTIVE))
  t.equal(asked(), 0)
  t.equal((await introspect(grantd, await registerGateway(grantd), token)).json().active, true, 'the control')
  t.ok(asked() > 0)
})

// [INTROSPECT-8]
t.test('no text as token ever gives anything but an inactive answer, or 200 for a revocation', async t => {
  const grantd = await startApp(t)
  const gateway = await registerGateway(grantd)
  const token = await tokenOf(grantd, gateway)
  const credentials = { client_id: gateway.clientId, client_secret: gateway.clientSecret }
  const parts = token.split('.')
  const part = fc.oneof(
    fc.constantFrom(...parts, ''),
    fc.base64String(),
    fc.json().map(text => Buffer.from(text).toString('base64url'))
  )
  const text = fc.oneof(
    fc.string({ unit: 'binary', minLength: 1 }).filter(value => !value.includes('\0') && !value.includes('\uFFFD')),
    fc.array(part, { minLength: 1, maxLength: 6 }).map(values => values.join('.')),
    fc.nat({ max: token.length - 1 }).map(at => `${token.slice(0, at)}-${token.slice(at + 1)}`)
  )
  await fc.assert(
    fc.asyncProperty(
      text.filter(value => value !== '' && value !== token && value.isWellFormed()),
      async value => {
        const answer = await introspect(grantd, gateway, value)
        const revoked = await postForm(grantd, '/oauth/revoke', { ...credentials, token: value })
        return answer.status === 200 && answer.text === INACTIVE && revoked.status === 200
      }
    ),
    { numRuns: 300 }
  )
  t.equal((await introspect(grantd, gateway, token)).json().active, true)
  const tooLong = await introspect(grantd, gateway, 'x'.repeat(17_000))
  t.match({ status: tooLong.status, error: tooLong.json().error }, { status: 413, error: 'invalid_request' })
})
