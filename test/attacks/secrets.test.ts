import t, { type Test } from 'tap'
import { createDatabase, dumpTables, query } from '../fixtures/app/database.ts'
import { send } from '../fixtures/app/grantd.ts'
import { driveAssertions } from './assertion-canaries.ts'
import { driveFaults, driveMistakes, driveOperations, formsOf, setStage } from './canaries.ts'

/** Fields that a line of the log may have. */
const LOG_FIELDS = [
  ...['level', 'time', 'msg', 'requestId', 'method', 'route', 'status', 'durationMs', 'source', 'reason'],
  ...['administrator', 'clientId', 'connection', 'migrations', 'code', 'err'],
  // Of a notice that could not be delivered: a report of a leak makes one.
  ...['deliveryId', 'noticeId', 'receiverId', 'kind', 'attempts'],
  // With WORKERS, and for faults that this run does not cause.
  ...['worker', 'end', 'issuer', 'detail', 'maxConnections', 'dropped', 'job']
]

// [SECRET-1]
t.test(
  'no secret, token, assertion or key is in the log, in an answer that does not hand it out, in the metrics or in any table, in any form',
  { timeout: 240_000 },
  async t => {
    for (const WORKERS of ['1', '2']) await t.test(`WORKERS=${WORKERS}`, t => searchEverywhere(t, { WORKERS }))
  }
)

async function searchEverywhere(t: Test, environment: Record<string, string>): Promise<void> {
  const stage = await setStage(t, await createDatabase(t), environment)
  const { server, canaries, databaseUrl, keyEncryptionKey } = stage
  const answers: string[] = []
  for (const drive of [driveOperations, driveAssertions, driveMistakes, driveFaults])
    answers.push(...(await drive(stage)))
  const metrics = (await send('GET', stage.metricsUrl)).text
  const tables = await dumpTables(databaseUrl)
  server.child.kill('SIGTERM')
  t.equal(await server.exited, 0)

  t.ok(canaries.count > 100, `${canaries.count} canaries`)
  t.ok(answers.length > 150, `${answers.length} answers`)
  const lines = server.output().trim().split('\n')
  t.ok(lines.length > 150, `${lines.length} lines of log`)
  for (const [index, line] of lines.entries()) t.same(canaries.foundIn(line), [], `line ${index}`)
  for (const [index, answer] of answers.entries()) t.same(canaries.foundIn(answer), [], `answer ${index}`)
  for (const [table, rows] of Object.entries(tables)) t.same(canaries.foundIn(rows.join('\n')), [], table)

  const fields = new Set(lines.flatMap(line => Object.keys(JSON.parse(line))))
  t.same(
    [...fields].filter(field => !LOG_FIELDS.includes(field)),
    [],
    'no other field is ever logged'
  )
  t.same(canaries.foundIn(metrics), [])
  t.match(metrics, /^grantd_token_requests_total\{outcome="too_many_failures"\} [1-9]/m)

  t.match(server.output(), '"level":"error"', 'the faults were logged')
  t.ok((tables['registrations'] ?? []).length > 30)
  for (const form of formsOf(keyEncryptionKey)) {
    t.same(canaries.foundIn(`x${form}x`), [keyEncryptionKey], 'and each form would have been found')
  }
}

// [SECRET-2]
t.test('at rest a secret is Argon2id at the stated cost, salted, and nothing else', async t => {
  const { grantd, databaseUrl } = await setStage(t, await createDatabase(t))
  for (let row = 0; row < 5; row++) await grantd.register()
  const rows = (await query(databaseUrl, 'select secret_hash from registrations')).map(row => Object(row).secret_hash)
  for (const hash of rows) {
    t.match(hash, /^\$argon2id\$v=19\$m=19456,t=2,p=1\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$/)
  }
  t.equal(new Set(rows.map(hash => hash.split('$')[4])).size, 5, 'each with a salt of its own')
})
