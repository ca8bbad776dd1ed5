import { readdirSync } from 'node:fs'
import path from 'node:path'
import t from 'tap'
import { createEmptyDatabase, query } from '../../fixtures/app/database.ts'
import { send } from '../../fixtures/app/grantd.ts'
import { ROOT } from '../../fixtures/run/paths.ts'
import { spawnServer, temporaryFolder, untilReady } from '../../fixtures/run/process.ts'

const INSTANCES = 6
const ROUNDS = 20

// [FAULT-21]
t.test(
  '6 instances start at once on an empty database, 20 times: each migration once, one signing key, all ready',
  async t => {
    const migrations = readdirSync(path.join(ROOT, 'migrations')).filter(file => /^\d/.test(file))
    let slowestMs = 0
    for (let round = 1; round <= ROUNDS; round++) {
      await t.test(`round ${round}`, async t => {
        const DATABASE_URL = await createEmptyDatabase(t)
        const environment = { DATABASE_URL, DATA_DIR: temporaryFolder(t) }
        const started = performance.now()
        const servers = await Promise.all(Array.from({ length: INSTANCES }, () => spawnServer(t, environment)))
        await Promise.all(servers.map(untilReady))
        slowestMs = Math.max(slowestMs, performance.now() - started)
        t.same(await query(DATABASE_URL, 'select count(*)::int from grantd_migrations'), [{ count: migrations.length }])
        t.same(await query(DATABASE_URL, 'select count(*)::int from signing_keys'), [{ count: 1 }])
        const keySets = await Promise.all(servers.map(({ baseUrl }) => send('GET', `${baseUrl}/.well-known/jwks.json`)))
        t.equal(new Set(keySets.map(({ text }) => text)).size, 1)
        const logs = servers.map(({ output }) => output()).join('')
        t.equal(logs.match(/"msg":"migrated"/g)?.length ?? 0, logs.match(/"migrations":\[("|\])/g)?.length ?? 0)
        t.equal(logs.match(/"migrations":\["/g)?.length, 1, 'one of them has migrated')
      })
    }
    t.comment(`${ROUNDS} rounds of ${INSTANCES}: all ready after ${(slowestMs / 1_000).toFixed(1)} s at most`)
  }
)
