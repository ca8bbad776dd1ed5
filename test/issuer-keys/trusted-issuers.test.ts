import { writeFileSync } from 'node:fs'
import path from 'node:path'
import { compactVerify, errors } from 'jose'
import { OAuth2Server } from 'oauth2-mock-server'
import t, { type Test } from 'tap'
import { IssuerUnavailable } from '../../src/issuer-keys/issuer-keys.ts'
import { ALGORITHMS, verifyWithEachKey } from '../../src/issuer-keys/signature.ts'
import { TrustedIssuers } from '../../src/issuer-keys/trusted-issuers.ts'
import { HOUR_MS, MINUTE_MS } from '../../src/time.ts'
import { advanceClock } from '../fixtures/peers/clock.ts'
import { type IdentityProvider, makeKey, startIdentityProvider } from '../fixtures/peers/identity-provider.ts'
import { temporaryFolder } from '../fixtures/run/process.ts'
import { until } from '../fixtures/run/until.ts'

const key = await makeKey('ES256', 'first')
const nextKey = await makeKey('ES256', 'second')
const stranger = await makeKey('ES256', 'stranger')

const NO_LOG = { info: () => {}, error: () => {} }

function trust(provider: IdentityProvider, keyFile?: string): TrustedIssuers {
  return new TrustedIssuers({ issuers: [{ issuer: provider.issuer, keyFile }], allowsLoopback: true }, provider.log)
}

/** Returns whether a token is signed by this issuer. */
async function isSignedBy(trusted: TrustedIssuers, issuer: string, token: string): Promise<boolean> {
  const keys = trusted.keysOf(issuer)
  if (keys === undefined) throw new Error('the issuer is not trusted')
  try {
    await verifyWithEachKey(keys, found => compactVerify(token, found, { algorithms: ALGORITHMS }))
    return true
  } catch (error) {
    if (error instanceof errors.JOSEError) return false
    throw error
  }
}

async function startWithKey(t: Test): Promise<IdentityProvider> {
  const provider = await startIdentityProvider(t)
  provider.publish([key])
  return provider
}

t.test('an issuer that is not listed has no keys, and neither has one that is spelt in another way', async t => {
  const provider = await startWithKey(t)
  const trusted = trust(provider)
  for (const issuer of [`${provider.issuer}/`, provider.issuer.toUpperCase(), provider.issuer.slice(0, -1), '']) {
    t.equal(trusted.keysOf(issuer), undefined)
  }
  t.same(provider.requests, [])
})

t.test('issuers have their own keys: a token of one is none of another, also with the same kid', async t => {
  const [one, other] = [await startWithKey(t), await startIdentityProvider(t)]
  const sameKid = { ...nextKey, kid: key.kid, jwk: { ...nextKey.jwk, kid: key.kid } }
  other.publish([sameKid])
  const issuers = [one, other].map(({ issuer }) => ({ issuer, keyFile: undefined }))
  const trusted = new TrustedIssuers({ issuers, allowsLoopback: true }, one.log)
  t.ok(await isSignedBy(trusted, one.issuer, await one.sign(key)))
  t.ok(await isSignedBy(trusted, other.issuer, await other.sign(sameKid)))
  t.notOk(await isSignedBy(trusted, other.issuer, await other.sign(key)))
  t.notOk(await isSignedBy(trusted, one.issuer, await one.sign(sameKid)))
})

t.test('an issuer that takes requests and does not answer delays no caller by more than a second', async t => {
  const provider = await startWithKey(t)
  const trusted = trust(provider)
  const token = await provider.sign(key)
  provider.isSilent = true
  const wait = async (work: () => Promise<unknown>) => {
    const startedAt = performance.now()
    await work()
    return performance.now() - startedAt
  }
  const strangers = await Promise.all(Array.from({ length: 20 }, () => provider.sign(stranger)))
  const refusals = [token, ...strangers.slice(0, 1)].map(async refused => {
    const waitedMs = await wait(() => t.rejects(isSignedBy(trusted, provider.issuer, refused), IssuerUnavailable))
    t.ok(waitedMs >= 900 && waitedMs < 1_900, `without keys: ${waitedMs} ms`)
  })
  await Promise.all(refusals)
  t.equal(provider.requests.length, 1, 'both waited for one fetch')
  provider.isSilent = false
  provider.hangUp()
  await until('the issuer is back', () => isSignedBy(trusted, provider.issuer, token).catch(() => false), 10_000)
  provider.isSilent = true
  // Old keys and an unknown kid: the caller waits for newer keys, and then for the key, a second together.
  advanceClock(t, 11 * MINUTE_MS)
  const waitedMs = await wait(async () => {
    const answers = await Promise.allSettled(strangers.map(each => isSignedBy(trusted, provider.issuer, each)))
    t.ok(answers.every(({ status }) => status === 'rejected'))
  })
  t.ok(waitedMs < 1_900, `with old keys: ${waitedMs} ms`)
  t.ok(await isSignedBy(trusted, provider.issuer, token), 'a key that is held still serves')
})

t.test('the last good keys serve while their issuer is away for 23 hours, and no longer after 25', async t => {
  const provider = await startWithKey(t)
  const trusted = trust(provider)
  const token = await provider.sign(key)
  t.ok(await isSignedBy(trusted, provider.issuer, token))
  await provider.stop()
  advanceClock(t, 23 * HOUR_MS)
  t.ok(await isSignedBy(trusted, provider.issuer, token))
  advanceClock(t, 2 * HOUR_MS)
  await t.rejects(isSignedBy(trusted, provider.issuer, token), IssuerUnavailable)
})

t.test(
  'an issuer rotates its keys: new ones are accepted without a restart, and withdrawn ones are refused',
  async t => {
    const provider = await startWithKey(t)
    const trusted = trust(provider)
    const { issuer } = provider
    t.ok(await isSignedBy(trusted, issuer, await provider.sign(key)))
    provider.publish([key, nextKey])
    advanceClock(t, MINUTE_MS)
    t.ok(await isSignedBy(trusted, issuer, await provider.sign(nextKey)))
    provider.publish([nextKey])
    advanceClock(t, 11 * MINUTE_MS)
    t.notOk(await isSignedBy(trusted, issuer, await provider.sign(key)))
    t.ok(await isSignedBy(trusted, issuer, await provider.sign(nextKey)))
  }
)

t.test('the keys of a stock issuer are found by its discovery document', async t => {
  const server = new OAuth2Server()
  await server.issuer.keys.generate('RS256')
  await server.start(0, '127.0.0.1')
  t.teardown(() => server.stop())
  const issuer = server.issuer.url ?? ''
  const trusted = new TrustedIssuers({ issuers: [{ issuer, keyFile: undefined }], allowsLoopback: true }, NO_LOG)
  t.ok(await isSignedBy(trusted, issuer, await server.issuer.buildToken()))
})

t.test('a token without kid is tried with ten keys, so that a large key set costs no caller more', async t => {
  const provider = await startIdentityProvider(t)
  const keys = await Promise.all(Array.from({ length: 30 }, (_, index) => makeKey('ES256', `${index}`)))
  const [first = key] = keys
  provider.publish(keys)
  const trusted = trust(provider)
  const keysOf = trusted.keysOf(provider.issuer)
  if (keysOf === undefined) throw new Error('the issuer is not trusted')
  let tried = 0
  const token = await provider.sign(stranger, {}, { kid: undefined })
  await t.rejects(
    verifyWithEachKey(keysOf, async found => {
      const verified = await compactVerify(token, found, { algorithms: ALGORITHMS }).catch(error => error)
      if (!(verified instanceof errors.JWKSMultipleMatchingKeys)) tried++
      throw verified
    }),
    errors.JWSSignatureVerificationFailed
  )
  t.equal(tried, 10)
  t.ok(await isSignedBy(trusted, provider.issuer, await provider.sign(first, {}, { kid: undefined })))
})

t.test('the keys of a file verify without a request, and are read again on demand', async t => {
  const provider = await startIdentityProvider(t)
  const file = path.join(temporaryFolder(t), 'jwks.json')
  writeFileSync(file, JSON.stringify({ keys: [key.jwk] }))
  const trusted = trust(provider, file)
  const { issuer } = provider
  t.ok(await isSignedBy(trusted, issuer, await provider.sign(key)))
  t.notOk(await isSignedBy(trusted, issuer, await provider.sign(nextKey)))
  writeFileSync(file, JSON.stringify({ keys: [nextKey.jwk] }))
  t.ok(await isSignedBy(trusted, issuer, await provider.sign(key)), 'until then the keys stay')
  trusted.rereadFiles()
  t.notOk(await isSignedBy(trusted, issuer, await provider.sign(key)))
  t.ok(await isSignedBy(trusted, issuer, await provider.sign(nextKey)))
  t.same(provider.requests, [])
})

t.test('a file that is wrong now keeps the last good keys, and the log says what is wrong', async t => {
  const provider = await startIdentityProvider(t)
  const file = path.join(temporaryFolder(t), 'jwks.json')
  writeFileSync(file, JSON.stringify({ keys: [key.jwk] }))
  const trusted = trust(provider, file)
  for (const content of ['', '{"keys":[', '{"keys":[]}', '{"keys":[{"kty":"EC"}]}']) {
    writeFileSync(file, content)
    trusted.rereadFiles()
    t.ok(await isSignedBy(trusted, provider.issuer, await provider.sign(key)), content)
    t.match(provider.lines.pop(), /^error: the key file of an issuer is wrong; its last good keys stay/)
  }
  t.throws(() => trust(provider, file), /is not a public key/, 'it is never started with')
})
