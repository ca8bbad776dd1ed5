import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { type Kysely, sql } from 'kysely'
import t, { type Test } from 'tap'
import type { Database } from '../../src/database/schema.ts'
import { createDatabase, openTestDatabase, openTestPipelinedConnection } from '../fixtures/app/database.ts'

const OPEN: Record<string, (t: Test, url: string) => Kysely<Database>> = {
  'a pipelined connection': openTestPipelinedConnection,
  'a pool': openTestDatabase
}

for (const [what, open] of Object.entries(OPEN)) {
  t.test(
    `a row that was read over ${what} does not outlive its use, not even until old objects are collected`,
    async t => {
      const db = open(t, await createDatabase(t))
      setFlagsFromString('--expose-gc')
      const collect: NodeJS.GCFunction = runInNewContext('gc')
      const rows: WeakRef<object>[] = []
      for (let statement = 0; statement < 200; statement++) {
        const read = await sql<object>`select number from generate_series(1, 30) as number`.execute(db)
        rows.push(...read.rows.map(row => new WeakRef(row)))
        // Survivors of two young collections are old. Only the rows of the latest statements may be in use.
        collect({ type: 'minor' })
      }
      const left = rows.filter(row => row.deref() !== undefined).length
      t.equal(rows.length, 6_000)
      t.ok(left <= 60, `${left} of 6,000 are left`)
    }
  )
}
