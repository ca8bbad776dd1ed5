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
/** Seconds from the real time, one after the other: 40 days ahead, back, ten minutes behind, back. */
const JUMPS = [0, 40 * DAY_S, 0, -600, 0]
/** libfaketime looks at its file once a second, and `iat` is in seconds. */
const SETTLED_MS = 2_500

/** The folder is named after the machine's architecture. */
function leftOut(): string | false {
  if (globSync(LIBRARY).length > 0) return false
  const reason = leftOutFor({ 'libfaketime of any machine': 'libfaketime' })
  return globSync(LIBRARY).length > 0 ? false : reason
}

// [FAULT-24]
t.test(
  'the clock of one of two instances jumps 40 days ahead and 10 minutes behind: no notice and no key is early, all tokens verify',
  { skip: leftOut() },
  async t => {
    const databaseUrl = await createDatabase(t)
    const file = path.join(temporaryFolder(t), 'clock')
    const jump = (seconds: number) => {
      writeFileSync(`${file}.new`, `${seconds < 0 ? '' : '+'}${seconds}\n`)
      renameSync(`${file}.new`, file)
    }
    jump(0)
    const environment = { DATA_DIR: temporaryFolder(t), LOG_LEVEL: 'fatal', NOTICE_INTERVAL_SECONDS: '1' }
    const steady = await startInstance(t, databaseUrl, environment)
    const jumping = await startInstance(t, databaseUrl, {
      ...environment,
      LD_PRELOAD: globSync(LIBRARY)[0] ?? '',
      FAKETIME_TIMESTAMP_FILE: file,
      FAKETIME_DONT_FAKE_MONOTONIC: '1',
      FAKETIME_CACHE_DURATION: '1'
    })
    const clients = await warmClients(3, steady.grantd, jumping.grantd)
    // Its first notice is due in five days, and its expiry in 35: both are past by the clock that is ahead.
    const early = await insertRegistrationRow(databaseUrl, inDays(35))
    const measured: string[] = []
    for (const seconds of JUMPS) {
      jump(seconds)
      await sleep(SETTLED_MS)
      const jwks = createLocalJWKSet((await steady.grantd.send('GET', '/.well-known/jwks.json')).json())
      for (const client of clients) {
        const tokens = [await steady.grantd.exchange(client), await jumping.grantd.exchange(client)]
        for (const { status, text } of tokens) t.equal(status, 200, text)
        const [right, jumped] = tokens.map(({ json }) => json().access_token)
        const { payload } = await jwtVerify(right, jwks)
        t.ok(Number(payload.iat) * 1_000 <= Date.now(), 'the right clock is in the token of the other instance')
        // A clock that is ahead dates no token: that of the database does. One that is behind only ends its tokens early.
        const { payload: other } = await jwtVerify(jumped, jwks)
        t.ok(Number(other.iat) * 1_000 <= Date.now(), 'no token is dated in the future')
      }
      const due = await insertRegistrationRow(databaseUrl, inDays(29))
      const inserted = performance.now()
      await until('a notice that is due is made', async () => (await noticesOf(databaseUrl, due.clientId)) === 1)
      t.equal(await noticesOf(databaseUrl, early.clientId), 0, 'no notice is early')
      for (const { grantd } of [steady, jumping]) t.equal((await grantd.send('GET', '/health/ready')).status, 200)
      measured.push(`${seconds} s: a notice that was due after ${Math.round(performance.now() - inserted)} ms`)
    }
    const ahead = await query(
      databaseUrl,
      "select kid from signing_keys where signs_from > now() + interval '20 minutes' or created_at > now()"
    )
    t.same(ahead, [], 'no signing key has a time of the wrong clock')
    t.comment(`${measured.join('; ')}; no notice early; no key with a time of the wrong clock`)
  }
)

/** The instants of a registration that expires in so many days, and whose cadence began before all of its steps. */
function inDays(days: number): { expiresAt: number; armedAt: number } {
  return { expiresAt: Date.now() + days * DAY_S * 1_000, armedAt: Date.now() - 2 * DAY_S * 1_000 }
}

async function noticesOf(databaseUrl: string, clientId: string): Promise<number> {
  return (await query(databaseUrl, 'select from notices where client_id = $1', [clientId])).length
}
