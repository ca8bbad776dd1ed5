import { randomUUID } from 'node:crypto'
import t, { type Test } from 'tap'
import { revokeToken } from '../../../src/registrations/token-revocation/service.ts'
import { startApp } from '../../fixtures/app/app.ts'
import { CONTEXT } from '../../fixtures/app/audit.ts'
import { asServingRole, openTestDatabase, query } from '../../fixtures/app/database.ts'

/** A registration, and how the token endpoint of an instance revokes a token of it. */
async function start(t: Test) {
  const grantd = await startApp(t)
  const { clientId, path } = await grantd.register()
  const db = openTestDatabase(t, asServingRole(grantd.databaseUrl))
  const versions: number[] = []
  const options = { db, now: Date.now, onChanged: (_clientId: string, version: number) => void versions.push(version) }
  const context = { ...CONTEXT, actor: 'client' }
  const token = (members = {}) => ({
    ...{ clientId, siteId: 'acme', jti: randomUUID(), issuedAt: Date.now(), endsAt: Date.now() + 600_000 },
    ...members
  })
  return {
    grantd,
    clientId,
    versions,
    token,
    revoke: (members = {}) => revokeToken(options, token(members), context),
    rows: () => query(grantd.databaseUrl, 'select jti, ends_at from token_revocations'),
    /** Revokes so many tokens behind the back of the service. */
    insert: (count: number, endsIn: string) =>
      query(
        grantd.databaseUrl,
        `insert into token_revocations (client_id, jti, ends_at)
         select client_id, gen_random_uuid(), now() + $1::interval from registrations, generate_series(1, $2::int)`,
        [endsIn, count]
      ),
    registration: async () => (await grantd.asAdmin('GET', path)).json()
  }
}

t.test('a revocation is a row with the end of its token, once for each token (RFC 7009 §2)', async t => {
  const { revoke, rows, registration, versions } = await start(t)
  const [jti, endsAt] = [randomUUID(), Date.now() + 60_000]
  await Promise.all(Array.from({ length: 5 }, () => revoke({ jti, endsAt })))
  t.same(await rows(), [{ jti, ends_at: new Date(endsAt) }])
  t.equal((await registration()).tokensValidFrom, null)
  t.same(versions, [], 'other tokens of the client stay in the caches')
})

t.test('the 101st revocation stops every token instead, with an audit event, and the rows are gone', async t => {
  const { grantd, clientId, revoke, rows, insert, registration, versions, token } = await start(t)
  await insert(99, '10 minutes')
  const last = token()
  await revoke(last)
  await revoke(last)
  t.equal((await rows()).length, 100)
  t.equal((await registration()).tokensValidFrom, null)
  const { issuedAt } = token()
  await revoke({ issuedAt })
  t.same(await rows(), [])
  const { tokensValidFrom } = await registration()
  t.ok(issuedAt < Date.parse(tokensValidFrom))
  t.same(versions, [2])
  const [event] = (await grantd.asAdmin('GET', '/v1/sites/acme/audit-events?limit=1')).json().items
  t.match(event, {
    action: 'tokens.revoked',
    subject: clientId,
    actor: 'client',
    changes: { tokensValidFrom: { from: null, to: tokensValidFrom } }
  })
  await revoke()
  t.equal((await rows()).length, 0, 'a token from before the cut-off is stopped already')
})

t.test('a registration never has more than 100 live revocations, however many come at once', async t => {
  const { revoke, rows, insert, registration, versions } = await start(t)
  await insert(95, '10 minutes')
  // Behind the back of the service, these have ended and do not count.
  await insert(50, '-1 second')
  const issuedAt = Date.now()
  const jtis = Array.from({ length: 20 }, () => randomUUID())
  await Promise.all(jtis.map(jti => revoke({ jti, issuedAt })))
  t.ok((await rows()).length <= 100)
  t.ok(issuedAt < Date.parse((await registration()).tokensValidFrom), 'all 20 are stopped')
  t.same(versions, [2], 'by one cut-off')
})

t.test('revoking a token of a registration that was deleted, or of another Site, changes nothing', async t => {
  const { revoke, rows } = await start(t)
  await revoke({ clientId: 'a'.repeat(20) })
  await revoke({ siteId: 'globex' })
  t.same(await rows(), [])
})

t.test('an expired token leaves no row, however many a client revokes', async t => {
  const { revoke, rows } = await start(t)
  await Promise.all(Array.from({ length: 5 }, () => revoke({ endsAt: Date.now() - 1_000 })))
  t.same(await rows(), [])
})

t.test('deleting a registration deletes its revocations', async t => {
  const { grantd, clientId, revoke, rows } = await start(t)
  await revoke()
  t.equal((await grantd.asAdmin('DELETE', `/v1/sites/acme/app-registrations/${clientId}`)).status, 204)
  t.same(await rows(), [])
})

t.test('revoke-tokens takes the place of single revocations', async t => {
  const { grantd, clientId, revoke, rows } = await start(t)
  await revoke()
  await grantd.asAdmin('POST', `/v1/sites/acme/app-registrations/${clientId}/revoke-tokens`)
  t.same(await rows(), [])
})
