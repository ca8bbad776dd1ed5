import { generateKeyPairSync } from 'node:crypto'
import t, { type Test } from 'tap'
import { recordUses } from '../../../src/last-used/repository.ts'
import { useOf } from '../../../src/last-used/use.ts'
import { Clock, startApp } from '../../fixtures/app/app.ts'
import { claimsOf, makeClientKey, requestWithAssertion, signAssertion } from '../../fixtures/app/assertion.ts'
import { openTestDatabase, query } from '../../fixtures/app/database.ts'
import type { Json } from '../../fixtures/app/grantd.ts'
import { keyPair } from '../../fixtures/app/public-key.ts'
import { COLLECTION, DAY_MS, inDays } from '../../fixtures/app/registration.ts'

const ISSUER = 'https://cluster.example'
const environment = { FEDERATED_ISSUERS: ISSUER }

type Kind = 'secret' | 'key' | 'federated'
const KINDS: readonly Kind[] = ['secret', 'key', 'federated']

let subjects = 0
/** Returns the members of a body that give a new credential of this kind. */
function newCredential(kind: Kind): object {
  if (kind === 'key') return { publicKey: keyPair().publicKey }
  if (kind === 'federated') return { federated: { issuer: ISSUER, subject: `workload ${++subjects}` } }
  return {}
}

/** Starts a service, and returns what an administrator does with one registration. */
async function registered(t: Test, members: object) {
  const clock = new Clock()
  const grantd = await startApp(t, { now: clock.now, environment })
  const db = openTestDatabase(t, grantd.databaseUrl)
  const body = { name: 'moving', expiresAt: inDays(300, clock.time), scopes: ['a'], audiences: ['b'], ...members }
  const created = await grantd.asAdmin('POST', COLLECTION, { body })
  const path = String(created.headers.location)
  return {
    clock,
    grantd,
    created,
    rotate: (rotation: object) => grantd.asAdmin('POST', `${path}/rotate-secret`, { body: rotation }),
    read: async (): Promise<Json> => (await grantd.asAdmin('GET', path)).json(),
    retire: () => grantd.asAdmin('DELETE', `${path}/previous-credential`),
    events: async (): Promise<Json[]> => (await grantd.asAdmin('GET', '/v1/sites/acme/audit-events')).json().items,
    /** Records an exchange with the current or the previous credential, as the token endpoint does. */
    use: async (which: 'current' | 'previous' = 'current') => {
      clock.advance(1_000)
      const [row] = await query(grantd.databaseUrl, 'select credential_number as number from registrations')
      const number = Number(Object(row).number) - (which === 'current' ? 0 : 1)
      await recordUses(db, new Map([[created.json().clientId, useOf(number, clock.time)]]))
      return new Date(clock.time).toISOString()
    }
  }
}

const withoutTimes = ({ createdAt: _, lastUsedAt: __, expiresAt: ___, ...rest }: Json) => rest

for (const from of KINDS) {
  for (const to of KINDS) {
    t.test(
      `a rotation from ${from} to ${to} keeps the previous one for the overlap, and changes nothing else`,
      async t => {
        const { clock, created, rotate, read, retire, events } = await registered(t, newCredential(from))
        const before = await read()
        t.equal(before.credential.kind, from)
        clock.advance(1_000)
        const rotated = await rotate({ ...newCredential(to), overlapSeconds: 3_600 })
        t.equal(rotated.status, 201, rotated.text)
        const { clientSecret, ...after } = rotated.json()
        t.equal(typeof clientSecret, to === 'secret' ? 'string' : 'undefined')
        t.equal(after.credential.kind, to)
        t.same(after.previousCredential, {
          ...before.credential,
          expiresAt: new Date(clock.time + 3_600_000).toISOString()
        })
        t.same({ ...after, credential: 0, previousCredential: 0 }, { ...before, credential: 0, previousCredential: 0 })
        t.same(await read(), after)
        t.equal((await retire()).status, 204)
        t.equal((await read()).previousCredential, null)
        t.equal((await retire()).status, 404)

        const [retired, changed, first] = await events()
        const named = ({ lastUsedAt: _, ...credential }: Json) => credential
        t.match(first.changes, { credential: { from: null, to: named(created.json().credential) } })
        t.match(changed, {
          action: 'credential.rotated',
          changes: { credential: { from: named(before.credential), to: named(after.credential) } }
        })
        t.match(retired, {
          action: 'credential.retired',
          changes: { previousCredential: { from: named(before.credential), to: null } }
        })
      }
    )
  }
}

t.test(
  'a registration moves from secret to key to federated subject, and shows when the old one has gone quiet',
  async t => {
    const { clock, grantd, created, rotate, read, retire, use } = await registered(t, {})
    const client = created.json()
    const key = await makeClientKey()
    const exchangeByKey = async () => {
      const claims = claimsOf(client.clientId, grantd.baseUrl, clock.time)
      return requestWithAssertion(grantd, await signAssertion(key, claims))
    }
    t.equal((await grantd.exchange(client)).status, 200)
    t.equal((await exchangeByKey()).status, 401)
    t.equal((await rotate({ publicKey: key.credential.jwk })).status, 201)
    t.equal((await grantd.exchange(client)).status, 200, 'the secret is accepted beside the key')
    const lastSecretUse = (await read()).previousCredential.lastUsedAt
    t.equal((await read()).credential.lastUsedAt, null)
    clock.advance(1_000)
    t.equal((await exchangeByKey()).status, 200)
    const keyUse = new Date(clock.time).toISOString()
    t.match(await read(), {
      lastUsedAt: keyUse,
      credential: { kind: 'key', lastUsedAt: keyUse },
      previousCredential: { kind: 'secret', lastUsedAt: lastSecretUse }
    })
    t.match((await rotate(newCredential('federated'))).json(), { code: 'rotation_under_way' }, 'both are in use')

    clock.advance(DAY_MS)
    t.equal((await grantd.exchange(client)).status, 401, 'the overlap is over')
    t.equal((await exchangeByKey()).status, 200)
    t.equal((await rotate({ ...newCredential('federated'), overlapSeconds: 7 * 86_400 })).status, 201)
    t.equal((await exchangeByKey()).status, 200, 'the key is accepted beside the subject')
    const [federatedUse, laterKeyUse] = [await use(), await use('previous')]
    t.match(await read(), {
      lastUsedAt: laterKeyUse,
      credential: { kind: 'federated', issuer: ISSUER, lastUsedAt: federatedUse },
      previousCredential: { kind: 'key', lastUsedAt: laterKeyUse }
    })
    t.equal((await retire()).status, 204)
    t.equal((await exchangeByKey()).status, 401)
    t.equal((await grantd.exchange(client)).status, 401)
  }
)

for (const kind of KINDS) {
  t.test(`a new ${kind} that nobody used gives way to another rotation, and the credential in use stays`, async t => {
    const { rotate, read, use } = await registered(t, {})
    await use()
    t.equal((await rotate(newCredential(kind))).status, 201)
    const lost = await read()
    const other = kind === 'key' ? 'federated' : 'key'
    t.equal((await rotate(newCredential(other))).status, 201)
    const after = await read()
    t.equal(after.credential.kind, other)
    t.equal(after.previousCredential.kind, 'secret')
    t.equal(after.previousCredential.createdAt, lost.previousCredential.createdAt)
    await use()
    t.equal((await rotate(newCredential(kind))).json().code, 'rotation_under_way')
    t.equal((await rotate({ ...newCredential(kind), overlapSeconds: 0 })).json().previousCredential, null)
  })
}

t.test('each event of a credential begins with the expiry that the event before it ends with', async t => {
  const { clock, rotate, retire, use, events } = await registered(t, {})
  for (const overlapSeconds of [60, 0, 3_600, 0, 0, 60]) {
    await use()
    t.equal((await rotate({ ...newCredential('key'), overlapSeconds })).status, 201)
    if (overlapSeconds === 3_600) t.equal((await retire()).status, 204)
    clock.advance(overlapSeconds === 60 ? 61_000 : 1_000)
  }
  const changes = (await events()).toReversed().flatMap(({ changes }) => changes.previousCredentialExpiresAt ?? [])
  t.equal(changes.length, 7)
  for (const [place, { from }] of changes.entries()) t.equal(from, changes[place - 1]?.to ?? null)
})

t.test('a rotation to the current key or subject is refused, because it would change nothing', async t => {
  for (const kind of ['key', 'federated'] as const) {
    const credential = newCredential(kind)
    const { rotate, read } = await registered(t, credential)
    const before = await read()
    for (const overlapSeconds of [0, 60]) {
      const answer = await rotate({ ...credential, overlapSeconds })
      t.equal(answer.status, 409)
      t.equal(answer.json().code, 'same_credential')
    }
    t.same(await read(), before)
  }
})

t.test('a rotation to the previous key or subject goes back to it, also while both are in use', async t => {
  for (const kind of ['key', 'federated'] as const) {
    const [old, fresh] = [newCredential(kind), newCredential(kind)]
    const { clock, rotate, read, use, retire } = await registered(t, old)
    const first = await read()
    await use()
    await rotate(fresh)
    await use()
    await use('previous')
    const under = await read()
    clock.advance(1)
    const back = await rotate({ ...old, overlapSeconds: 60 })
    t.equal(back.status, 201, back.text)
    t.same(withoutTimes(back.json().credential), withoutTimes(first.credential))
    t.same(withoutTimes(back.json().previousCredential), withoutTimes(under.credential))
    t.equal(back.json().previousCredential.lastUsedAt, under.credential.lastUsedAt)
    t.equal(back.json().credential.lastUsedAt, null, 'a use before counts for the rotation before')
    const used = await use()
    t.match(await read(), { credential: { lastUsedAt: used } })
    t.equal((await rotate({ ...fresh, overlapSeconds: 60 })).status, 201, 'and forth again')
    t.equal((await retire()).status, 204)
    t.equal((await rotate(old)).status, 201, 'also to one that was retired')
  }
})

t.test('the same RSA key can change its algorithm by a rotation', async t => {
  const { publicKey } = generateKeyPairSync('rsa', { modulusLength: 2_048 })
  const jwk = publicKey.export({ format: 'jwk' })
  const { rotate } = await registered(t, { publicKey: { ...jwk, alg: 'RS256' } })
  t.equal((await rotate({ publicKey: { ...jwk, alg: 'RS256' } })).status, 409)
  t.match((await rotate({ publicKey: jwk })).json(), {
    credential: { alg: 'PS256' },
    previousCredential: { alg: 'RS256' }
  })
})

t.test(
  'of several rotations at once to different keys, the registration ends with one of them and the old one',
  async t => {
    const { rotate, read, use } = await registered(t, {})
    await use()
    const answers = await Promise.all(Array.from({ length: 6 }, () => rotate(newCredential('key'))))
    t.ok(answers.every(({ status }) => status === 201))
    const { credential, previousCredential } = await read()
    t.ok(answers.some(answer => answer.json().credential.keyId === credential.keyId))
    t.equal(previousCredential.kind, 'secret')
  }
)
