import { fastify } from 'fastify'
import t from 'tap'
import { revocationPurge } from '../../../src/registrations/token-revocation/plugin.ts'
import { startApp } from '../../fixtures/app/app.ts'
import { asServingRole, openTestDatabase, query } from '../../fixtures/app/database.ts'
import { until } from '../../fixtures/run/until.ts'

t.test('revocations are dropped when their tokens have expired, more than a batch of them, and no other', async t => {
  const grantd = await startApp(t)
  await grantd.register()
  const insert = (jti: string, endsIn: string, count: number) =>
    query(
      grantd.databaseUrl,
      `insert into token_revocations (client_id, jti, ends_at)
       select client_id, $1 || i, now() + $2::interval from registrations, generate_series(1, $3::int) i`,
      [jti, endsIn, count]
    )
  await insert('live ', '10 minutes', 3)
  await insert('ended ', '-1 millisecond', 2_500)
  const app = fastify()
  t.teardown(() => app.close())
  await app.register(revocationPurge, { db: openTestDatabase(t, asServingRole(grantd.databaseUrl)), intervalMs: 10 })
  await app.ready()
  const rows = () => query(grantd.databaseUrl, 'select jti from token_revocations order by jti')
  await until('the ended ones are gone', async () => (await rows()).length <= 3)
  t.same(await rows(), [{ jti: 'live 1' }, { jti: 'live 2' }, { jti: 'live 3' }])
})
