import { PassThrough } from 'node:stream'
import t from 'tap'
import { loadConfig } from '../../src/config/config.ts'
import { createLog } from '../../src/http/log.ts'
import { openInstance } from '../../src/runtime/instance.ts'
import { asServingRole, createDatabase } from '../fixtures/app/database.ts'
import { temporaryFolder } from '../fixtures/run/process.ts'

t.test('a role that bypasses row-level security causes a warning at start, and another role does not', async t => {
  const superuser = await createDatabase(t)
  const DATA_DIR = temporaryFolder(t)
  for (const [url, warnings] of [
    [superuser, 1],
    [asServingRole(superuser), 0]
  ] as const) {
    const output = new PassThrough()
    const { connection } = await openInstance({
      config: loadConfig({ DATABASE_URL: url, DATA_DIR }),
      log: createLog('info', output),
      onConnectionChange: () => {},
      migrates: true
    })
    await connection.close()
    const lines = String(output.read() ?? '').split('\n')
    t.equal(lines.filter(line => line.includes('BYPASSRLS')).length, warnings, url)
  }
})
