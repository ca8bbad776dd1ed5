import { globSync, readFileSync } from 'node:fs'
import path from 'node:path'
import t from 'tap'
import { ROOT } from '../fixtures/run/paths.ts'
import { titlesOfExamples } from './page.ts'

/** The registries that the tests may use have no Spring. */
const NOT_RUN = ['Spring Security', 'Spring Security, by introspection']

t.test('npm run test:verifiers runs each example of docs/resource-servers.md, except those for Spring', async t => {
  const sources = globSync('test/verifiers/*{.verifier,gateways}.ts', { cwd: ROOT }).map(file =>
    readFileSync(path.join(ROOT, file), 'utf8')
  )
  const titles = titlesOfExamples()
  const isRun = (title: string) => sources.some(source => source.includes(`'${title}'`))
  t.same(
    titles.filter(title => !isRun(title)),
    NOT_RUN
  )
  t.ok(titles.length > 8)
})
