import { writeFileSync } from 'node:fs'
import path from 'node:path'
import t from 'tap'
import { requestWithAssertion } from '../fixtures/app/assertion.ts'
import { createDatabase } from '../fixtures/app/database.ts'
import { claimsFor, registerWorkload } from '../fixtures/app/workload.ts'
import { IdentityProvider, makeKey, type ProviderKey } from '../fixtures/peers/identity-provider.ts'
import { startInstance } from '../fixtures/run/instance.ts'
import { temporaryFolder } from '../fixtures/run/process.ts'
import { until } from '../fixtures/run/until.ts'

const first = await makeKey('RS256', 'first')
const second = await makeKey('RS256', 'second')

/** It signs tokens only. Nothing listens at its address. */
const cluster = new IdentityProvider(9, '')

for (const { workers, read, refused } of [
  { workers: '1', read: 'read the key file of an issuer again', refused: 'the key file of an issuer is wrong' },
  { workers: '2', read: 'all workers are replaced', refused: 'a new worker did not start; the remaining workers stay' }
]) {
  // [FED-11]
  t.test(
    `SIGHUP reads a key file again, and a broken file keeps the last good keys (${workers} processes)`,
    async t => {
      const file = path.join(temporaryFolder(t), 'jwks.json')
      const write = (...keys: ProviderKey[]) =>
        writeFileSync(file, JSON.stringify({ keys: keys.map(({ jwk }) => jwk) }))
      write(first)
      const { server, grantd } = await startInstance(t, await createDatabase(t), {
        WORKERS: workers,
        FEDERATED_ISSUERS: `${cluster.issuer}=${file}`
      })
      const { clientId } = await registerWorkload(grantd, cluster.issuer)
      const statusOf = async (key: ProviderKey) => {
        const token = await cluster.sign(key, claimsFor(grantd))
        return (await requestWithAssertion(grantd, token, { client_id: clientId })).status
      }
      const statuses = async () => [await statusOf(first), await statusOf(second)]
      /** Sends SIGHUP and waits until this line came once more. */
      const hangUp = async (line: string) => {
        const count = () => server.output().split(line).length
        const before = count()
        server.child.kill('SIGHUP')
        await until(line, () => count() > before, 60_000)
      }
      t.same(await statuses(), [200, 401])
      writeFileSync(file, '{"keys":[')
      await hangUp(refused)
      t.match(server.output(), `${file} is not JSON`, 'the log says what is wrong')
      t.same(await statuses(), [200, 401])
      write(second)
      await hangUp(read)
      t.same(await statuses(), [401, 200])
      t.equal(server.child.exitCode, null)
    }
  )
}

t.test(
  'a key file that is wrong at the start keeps the instance from starting, by the name of the variable',
  async t => {
    const file = path.join(temporaryFolder(t), 'jwks.json')
    writeFileSync(file, '{"keys":[]}')
    await t.rejects(
      startInstance(t, await createDatabase(t), { FEDERATED_ISSUERS: `${cluster.issuer}=${file}` }),
      /FEDERATED_ISSUERS must be followed by files that hold a JSON Web Key Set.*has an empty list of keys/
    )
  }
)
