import { readFileSync } from 'node:fs'
import path from 'node:path'
import t from 'tap'
import { ROOT } from '../fixtures/run/paths.ts'

const read = (file: string): string => readFileSync(path.join(ROOT, file), 'utf8')

/** Returns the blocks of commands below a heading of a page. */
function commandsIn(page: string, heading: string): string[] {
  const [, below = ''] = page.split(`\n## ${heading}\n`)
  return [...(below.split('\n## ')[0] ?? '').matchAll(/```sh\n([\s\S]*?)```/g)].map(([, block = '']) => block)
}

t.test('AGENTS.md has the commands of CONTRIBUTING.md, and each of them is a script of package.json', async t => {
  const commands = commandsIn(read('CONTRIBUTING.md'), 'Commands')
  t.same(commandsIn(read('AGENTS.md'), 'Commands'), commands)
  const { scripts } = JSON.parse(read('package.json'))
  const names = commands.flatMap(block => [...block.matchAll(/^npm run (\S+)/gm)]).map(([, name = '']) => name)
  t.ok(names.length > 15)
  for (const name of names) t.ok(scripts[name], name)
})
