import { decodeJwt } from 'jose'
import t, { type Test } from 'tap'
import { Registry } from '../../../src/metrics/registry.ts'
import { startApp } from '../../fixtures/app/app.ts'
import { ASSERTION_TYPE, registerKeyClient } from '../../fixtures/app/assertion.ts'
import { query } from '../../fixtures/app/database.ts'
import type { Answer, Grantd } from '../../fixtures/app/grantd.ts'
import { introspect, registerGateway } from '../../fixtures/app/introspection.ts'
import { readMetric } from '../../fixtures/app/metrics.ts'
import { issuedAtOf } from '../../fixtures/app/registration.ts'
import { until } from '../../fixtures/run/until.ts'

interface Client {
  clientId: string
  clientSecret: string
  path: string
}

/** A token request that is waiting for a cut-off, and the instance where an administrator acts. */
interface Waiting {
  client: Client
  admin: Grantd
  cutOff: number
}

async function rowOf({ databaseUrl }: Grantd, clientId: string) {
  const [row] = await query(
    databaseUrl,
    'select version, tokens_valid_from, clock_timestamp() as now from registrations where client_id = $1',
    [clientId]
  )
  return Object(row)
}

async function databaseTime({ databaseUrl }: Grantd): Promise<number> {
  const [row] = await query(databaseUrl, 'select clock_timestamp() as now')
  return Object(row).now.getTime()
}

/** Two instances on one database. Requests for tokens go to the first one. */
interface Instances {
  asked: Grantd
  other: Grantd
  /** Counts the look-ups of clients at the first one. */
  countLookUps: () => Promise<number | undefined>
}

/** Moves the cut-off of a registration at the start of a second, so that a request waits for nearly all of it. */
async function stopTokens(grantd: Grantd, { clientId }: Pick<Client, 'clientId'>): Promise<number> {
  const [row] = await query(
    grantd.databaseUrl,
    `with begun as materialized (select pg_sleep(1 - date_part('epoch', clock_timestamp())::numeric % 1)),
     moved as (
       update registrations set tokens_valid_from = next_token_cut_off(tokens_valid_from), version = version + 1
       from begun where client_id = $1 returning tokens_valid_from
     )
     select tokens_valid_from from moved`,
    [clientId]
  )
  return Object(row).tokens_valid_from.getTime()
}

/**
 * Requests a token that waits for a cut-off, and acts meanwhile. On a busy machine, the cut-off may come before the act is
 * committed. It is then tried again with another registration.
 */
async function actDuringWait(
  { asked, countLookUps }: Instances,
  admin: Grantd,
  { members = {}, parameters = {}, isKnown }: Case & { isKnown: boolean },
  act: (waiting: Waiting) => Promise<unknown>
): Promise<{ answer: Answer; waiting: Waiting }> {
  for (let time = 0; time < 20; time++) {
    const client = await admin.register(members)
    if (isKnown) for (let each = 0; each < 2; each++) await asked.exchange(client)
    const waiting = { client, admin, cutOff: await stopTokens(admin, client) }
    const before = await countLookUps()
    const answered = asked.requestToken({
      client_id: client.clientId,
      client_secret: client.clientSecret,
      ...parameters
    })
    await until('the row was looked up', async () => (await countLookUps()) !== before)
    await act(waiting)
    const isInTime = (await databaseTime(admin)) < waiting.cutOff
    const answer = await answered
    if (isInTime) return { answer, waiting }
  }
  throw new Error('no act was in time')
}

interface Case {
  members?: Record<string, unknown>
  parameters?: Record<string, string>
}

const change = ({ admin, client }: Waiting, body: object) => admin.asAdmin('PATCH', client.path, { body })

/** Calls revoke-tokens. Resolves when it is committed: the answer comes after the cut-off. */
async function revokeTokens({ admin, client }: Waiting): Promise<void> {
  const { version } = await rowOf(admin, client.clientId)
  const answer = admin.asAdmin('POST', `${client.path}/revoke-tokens`)
  answer.catch(() => {})
  await until('it is committed', async () => (await rowOf(admin, client.clientId)).version > version)
}

const rotateAtOnce = ({ admin, client }: Waiting) =>
  admin.asAdmin('POST', `${client.path}/rotate-secret`, { body: { overlapSeconds: 0 } })

/** Acts during the wait after which there is no token, with the status and the error of the answer. */
const REFUSALS: Record<string, Case & { act: (waiting: Waiting) => Promise<unknown>; error: string }> = {
  'rotate-secret without overlap and revoke-tokens': {
    act: async waiting => {
      await rotateAtOnce(waiting)
      await revokeTokens(waiting)
    },
    error: '401 invalid_client'
  },
  disabling: { act: waiting => change(waiting, { enabled: false }), error: '401 invalid_client' },
  deleting: {
    act: ({ admin, client }) => admin.asAdmin('DELETE', client.path),
    error: '401 invalid_client'
  },
  'an expiry before the cut-off': {
    act: waiting => change(waiting, { expiresAt: new Date(waiting.cutOff - 1).toISOString() }),
    error: '401 invalid_client'
  },
  'requiring DPoP': { act: waiting => change(waiting, { dpopBound: true }), error: '400 invalid_dpop_proof' },
  'taking the scope away': {
    members: { scopes: ['a', 'b'] },
    parameters: { scope: 'a' },
    act: waiting => change(waiting, { scopes: ['b'] }),
    error: '400 invalid_scope'
  },
  'taking the audience away': {
    members: { audiences: ['https://a.example', 'https://b.example'] },
    parameters: { resource: 'https://a.example' },
    act: waiting => change(waiting, { audiences: ['https://b.example'] }),
    error: '400 invalid_target'
  }
}

async function startTwo(t: Test): Promise<Instances> {
  const metrics = new Registry()
  const asked = await startApp(t, { metrics })
  return {
    asked,
    other: await startApp(t, { databaseUrl: asked.databaseUrl }),
    countLookUps: async () => (await readMetric(metrics, 'grantd_client_lookups_total'))?.['']
  }
}

// Most of the time, these tests wait.
t.jobs = 4

/** Where the administrator acts, and whether the instance has the client in its cache. */
const WAYS = [
  ['on the same instance', 'asked', true],
  ['on the same instance, to a client that it does not know', 'asked', false],
  ['on another instance', 'other', true],
  ['on another instance, to a client that it does not know', 'other', false]
] as const

for (const [way, place, isKnown] of WAYS) {
  // [STOP-6]
  t.test(
    `what is taken away ${way} while a token request waits for a cut-off is not granted`,
    { buffered: true },
    async t => {
      const instances = await startTwo(t)
      for (const [name, { act, error, ...request }] of Object.entries(REFUSALS)) {
        const { answer } = await actDuringWait(instances, instances[place], { ...request, isKnown }, act)
        t.equal(`${answer.status} ${answer.json().error}`, error, name)
      }
    }
  )

  t.test(
    `what is changed ${way} while a token request waits for a cut-off counts for its token`,
    { buffered: true },
    async t => {
      const instances = await startTwo(t)
      const admin = instances[place]
      const { asked } = instances
      const gateway = await registerGateway(asked)
      const restarted = await actDuringWait(
        instances,
        admin,
        { isKnown, members: { scopes: ['a', 'b'] } },
        async waiting => {
          await change(waiting, { enabled: false, scopes: ['b'] })
          await change(waiting, { enabled: true, tokenLifetimeSeconds: 60 })
        }
      )
      const token = restarted.answer.json().access_token
      const { scope, iat = 0, exp = 0 } = decodeJwt(token)
      t.same({ scope, life: exp - iat }, { scope: 'b', life: 60 }, 'disabled and enabled: as any request after it')
      const { cutOff, client } = restarted.waiting
      t.ok(iat * 1_000 >= cutOff && iat * 1_000 >= (await rowOf(asked, client.clientId)).tokens_valid_from.getTime())
      t.match((await introspect(asked, gateway, token)).json(), { active: true })
      const revoked = await actDuringWait(instances, admin, { isKnown }, revokeTokens)
      t.ok(issuedAtOf(revoked.answer) >= revoked.waiting.cutOff, 'revoke-tokens again, in the same second')
      const moved = await actDuringWait(instances, admin, { isKnown }, ({ admin, client: { clientId } }) =>
        query(
          admin.databaseUrl,
          `update registrations set tokens_valid_from = tokens_valid_from + interval '1 second', version = version + 1
         where client_id = $1`,
          [clientId]
        )
      )
      t.equal(issuedAtOf(moved.answer), moved.waiting.cutOff + 1_000, 'it waits again for a cut-off that has moved')
      t.ok((await databaseTime(asked)) >= moved.waiting.cutOff + 1_000)
    }
  )
}

t.test('an assertion that waits for a cut-off is used once', async t => {
  const { asked: grantd, other } = await startTwo(t)
  const request = async ({ clientId, sign }: Awaited<ReturnType<typeof registerKeyClient>>) => {
    const assertion = { client_assertion_type: ASSERTION_TYPE, client_assertion: await sign() }
    return () => grantd.requestToken({ client_id: clientId, ...assertion })
  }
  const client = await registerKeyClient(grantd)
  const send = await request(client)
  const cutOff = await stopTokens(other, client)
  t.ok(issuedAtOf(await send()) >= cutOff)
  t.equal((await send()).status, 401)
})

t.test('while the cut-off moves on and on, the answer is 503 after a few seconds', async t => {
  const { asked: grantd } = await startTwo(t)
  const client = await grantd.register()
  const move = () =>
    query(
      grantd.databaseUrl,
      `update registrations set version = version + 1,
       tokens_valid_from = date_trunc('second', clock_timestamp()) + interval '3 seconds'`
    )
  await move()
  let isAnswered = false
  const answered = grantd.exchange(client).finally(() => {
    isAnswered = true
  })
  await until('it is answered', async () => {
    await move()
    return isAnswered
  })
  const answer = await answered
  t.equal(answer.status, 503)
  t.equal(answer.json().error, 'temporarily_unavailable')
  t.equal(answer.headers['retry-after'], '1')
})
