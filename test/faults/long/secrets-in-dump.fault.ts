import { execFileSync } from 'node:child_process'
import t from 'tap'
import { driveAssertions } from '../../attacks/assertion-canaries.ts'
import { driveFaults, driveMistakes, driveOperations, formsOf, setStage } from '../../attacks/canaries.ts'
import { startCluster } from '../../fixtures/faults/cluster.ts'
import { leftOutFor } from '../../fixtures/faults/debian.ts'
import { DEBIAN_POSTGRES, DEBIAN_POSTGRES_NEEDS, FOLDER } from '../../fixtures/faults/debian-postgres.ts'

const skip = leftOutFor(DEBIAN_POSTGRES_NEEDS)

t.test('no secret, token or key is in a dump by pg_dump, in any form', { skip }, async t => {
  const cluster = await startCluster(t, [], DEBIAN_POSTGRES)
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
