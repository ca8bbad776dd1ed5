import { readFileSync } from 'node:fs'
import path from 'node:path'
import t from 'tap'
import { agentsPage, withCommands } from '../../tools/agents.ts'
import { ROOT } from '../fixtures/run/paths.ts'

t.test('AGENTS.md has the commands of CONTRIBUTING.md; "npm run readme" writes them', async t => {
  const { page, wanted } = agentsPage()
  t.equal(page, wanted)
  t.not(
    withCommands(page, '## Commands\n\n```sh\nnpm run new\n```\n\n## Tests\n'),
    page,
    'control: another command shows'
  )
})

t.test('each command of AGENTS.md is a script of package.json', async t => {
  const { scripts } = JSON.parse(readFileSync(path.join(ROOT, 'package.json'), 'utf8'))
  const names = [...agentsPage().page.matchAll(/^npm run (\S+)/gm)].map(([, name = '']) => name)
  t.ok(names.length > 15)
  for (const name of names) t.ok(scripts[name], name)
})
