import { readFileSync } from 'node:fs'
import t from 'tap'
import { OPERATE_FILE, withMetrics } from '../../tools/metrics-table.ts'
import { createDatabase } from '../fixtures/app/database.ts'

t.test('docs/operate.md lists every metric; "npm run docs" writes it', async t => {
  const page = readFileSync(OPERATE_FILE, 'utf8')
  t.equal(await withMetrics(page, { DATABASE_URL: await createDatabase(t) }), page)
  for (const name of ['grantd_build_info', 'nodejs_heap_size_used_bytes', 'process_open_fds']) {
    t.match(page, `| \`${name}\` |`)
  }
})
