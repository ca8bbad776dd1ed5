import { execFileSync } from 'node:child_process'
import t from 'tap'
import { driveAssertions } from '../../attacks/assertion-canaries.ts'
import { driveFaults, driveMistakes, driveOperations, formsOf, setStage } from '../../attacks/canaries.ts'
import { startCluster } from '../../fixtures/faults/cluster.ts'
import { leftOutFor } from '../../fixtures/faults/debian.ts'

/** pg_dump refuses a server that is newer than itself, so both are of Debian's version. */
const FOLDER = '/usr/lib/postgresql/15/bin'
const skip = leftOutFor({ [`${FOLDER}/initdb`]: 'postgresql-15', [`${FOLDER}/pg_dump`]: 'postgresql-client-15' })

t.test('no secret, token or key is in a dump by pg_dump, in any form', { skip }, async t => {
  const cluster = await startCluster(t, [], { initdb: `${FOLDER}/initdb`, postgres: `${FOLDER}/postgres` })
  const stage = await setStage(t, cluster.url)
  await driveOperations(stage)
  await driveAssertions(stage)
  await driveMistakes(stage)
  await driveFaults(stage)
  const dump = execFileSync(`${FOLDER}/pg_dump`, [cluster.url], { encoding: 'utf8', maxBuffer: 2 ** 28 })
  t.ok(stage.canaries.count > 100, `${stage.canaries.count} canaries`)
  t.match(dump, /^COPY \S*registrations \(client_id, /m)
  t.ok(dump.split('$argon2id$').length > 30, 'the rows of registrations are there')
  t.same(stage.canaries.foundIn(dump), [])
  for (const form of formsOf(stage.keyEncryptionKey)) {
    t.same(stage.canaries.foundIn(`x${form}x`), [stage.keyEncryptionKey], 'and each form would have been found')
  }
})
