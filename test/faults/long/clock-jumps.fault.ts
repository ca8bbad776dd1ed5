import { globSync, renameSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { createLocalJWKSet, jwtVerify } from 'jose'
import t from 'tap'
import { createDatabase, query } from '../../fixtures/app/database.ts'
import { insertRegistrationRow } from '../../fixtures/app/registration-row.ts'
import { leftOutFor } from '../../fixtures/faults/debian.ts'
import { startInstance, warmClients } from '../../fixtures/run/instance.ts'
import { temporaryFolder } from '../../fixtures/run/process.ts'
import { until } from '../../fixtures/run/until.ts'

const LIBRARY = '/usr/lib/*/faketime/libfaketimeMT.so.1'
const DAY_S = 86_400
/** In turn, seconds from the real time: the clock jumps ahead, back to what is right, ten minutes behind. */
const JUMPS = [0, 40 * DAY_S, 0, -600, 0]
/** libfaketime looks at its file once a second; a token's `iat` is in seconds. */
const SETTLED_MS = 2_500

/** Wildcards are the machine's name: the package is there when one is. */
function leftOut(): string | false {
  if (globSync(LIBRARY).length > 0) return false
  const reason = leftOutFor({ 'libfaketime of any machine': 'libfaketime' })
  return globSync(LIBRARY).length > 0 ? false : reason
}

// [FAULT-24]
t.test(
  'the clock jumps by 40 days ahead, back, and 10 minutes behind: no token and no notice is from the future, all verify, timers go on',
  { skip: leftOut() },
  async t => {
    const databaseUrl = await createDatabase(t)
    const file = path.join(temporaryFolder(t), 'clock')
    const jump = (seconds: number) => {
      writeFileSync(`${file}.new`, `${seconds < 0 ? '' : '+'}${seconds}\n`)
      renameSync(`${file}.new`, file)
    }
    jump(0)
    const { grantd } = await startInstance(t, databaseUrl, {
      LOG_LEVEL: 'fatal',
      NOTICE_INTERVAL_SECONDS: '1',
      // Short, so that 40 days are beyond what a key signs.
      KEY_ROTATION_DAYS: '30',
      LD_PRELOAD: globSync(LIBRARY)[0] ?? '',
      FAKETIME_TIMESTAMP_FILE: file,
      FAKETIME_DONT_FAKE_MONOTONIC: '1',
      FAKETIME_CACHE_DURATION: '1'
    })
    const clients = await warmClients(3, grantd)
    const measured: string[] = []
    for (const seconds of JUMPS) {
      jump(seconds)
      await sleep(SETTLED_MS)
      const clockMs = () => Date.now() + seconds * 1_000
      const jwks = createLocalJWKSet((await grantd.send('GET', '/.well-known/jwks.json')).json())
      for (const client of clients) {
        const answer = await grantd.exchange(client)
        t.equal(answer.status, 200, answer.text)
        const currentDate = new Date(clockMs())
        const { payload } = await jwtVerify(answer.json().access_token, jwks, { currentDate })
        t.ok((payload.iat ?? Number.POSITIVE_INFINITY) * 1_000 <= clockMs(), 'not from the future of its clock')
        t.ok((payload.exp ?? Number.POSITIVE_INFINITY) * 1_000 <= clockMs() + 900_000)
      }
      // The cadence goes by the database's clock, whatever that of the server shows.
      const armedAt = Date.now() - 2 * DAY_S * 1_000
      const early = await insertRegistrationRow(databaseUrl, { expiresAt: Date.now() + 50 * DAY_S * 1_000, armedAt })
      const due = await insertRegistrationRow(databaseUrl, { expiresAt: Date.now() + 29 * DAY_S * 1_000, armedAt })
      const turned = performance.now()
      await until('the cadence goes on', async () => {
        const rows = await query(databaseUrl, 'select from notices where client_id = $1', [due.clientId])
        return rows.length === 1
      })
      const firedEarly = await query(databaseUrl, 'select from notices where client_id = $1', [early.clientId])
      t.equal(firedEarly.length, 0, 'no notice of the future')
      t.equal((await grantd.send('GET', '/health/ready')).status, 200)
      const [keys] = (await query(databaseUrl, 'select count(*)::int from signing_keys')).map(Object)
      measured.push(`${seconds} s: a notice after ${Math.round(performance.now() - turned)} ms, ${keys.count} keys`)
    }
    // By the database's clock nothing was decided ahead of time.
    const early = await query(
      databaseUrl,
      "select kid from signing_keys where signs_from > now() + interval '20 minutes'"
    )
    t.comment(`${measured.join('; ')}; ${early.length} keys with a time of the wrong clock`)
  }
)
