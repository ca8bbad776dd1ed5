import { globSync, readFileSync } from 'node:fs'
import path from 'node:path'
import t from 'tap'
import { CLAUSES } from './clauses.ts'

t.test('every clause that is built has one test, and every test its clause', async t => {
  const tested = globSync('*.test.ts', { cwd: import.meta.dirname })
    .map(file => readFileSync(path.join(import.meta.dirname, file), 'utf8'))
    .flatMap(text => [...text.matchAll(/^clause\('([^']+)'/gm)])
    .map(([, id]) => id)
  t.same(
    tested.sort(),
    CLAUSES.filter(({ isBuilt }) => isBuilt)
      .map(({ id }) => id)
      .sort()
  )
  t.ok(tested.length > 50)
})
