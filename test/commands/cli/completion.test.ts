import { execFileSync } from 'node:child_process'
import path from 'node:path'
import t from 'tap'
import { UsageError } from '../../../src/commands/cli/arguments.ts'
import { candidates, completionScript } from '../../../src/commands/cli/completion.ts'
import { readOperations } from '../../../src/commands/cli/description.ts'
import { ROOT } from '../../fixtures/run/paths.ts'

const operations = readOperations()

t.test('the words that may follow are operations, options that are not used yet, and values', async t => {
  t.ok(candidates(operations, []).includes('createAppRegistration'))
  const options = candidates(operations, ['listAppRegistrations', '--site-id', 'acme'])
  t.ok(options.includes('--limit') && options.includes('--output'))
  t.notOk(options.includes('--siteId'))
  t.same(candidates(operations, ['listAppRegistrations', '--order']), ['asc', 'desc'])
  t.same(candidates(operations, ['listAppRegistrations', '--output']), ['json', 'table'])
  t.same(candidates(operations, ['listAppRegistrations', '--siteId']), [])
  t.ok(candidates(operations, ['createAppRegistration', '--scopes', 'a']).includes('--scopes'), 'a list may go on')
  t.same(candidates(operations, ['completion']), ['bash'])
  t.same(candidates(operations, ['nothing']), [])
})

t.test('a shell whose completion is not known is refused', async t => {
  for (const words of [['fish'], [], ['bash', 'x']]) t.throws(() => completionScript(['grantd'], words), UsageError)
})

t.test('bash completes what is typed', async t => {
  const cli = path.join(ROOT, 'src/commands/cli.ts')
  const completed = (...words: string[]) => {
    const script = `
      source <("$0" "$1" completion bash)
      COMP_WORDS=("\${@:2}"); COMP_CWORD=$((\${#COMP_WORDS[@]} - 1))
      _grantd; printf '%s\\n' "\${COMPREPLY[@]}"`
    const args = ['-c', script, process.execPath, cli, 'grantd', ...words]
    return execFileSync('bash', args, { encoding: 'utf8' }).trim().split('\n')
  }
  t.same(completed('createApp'), ['createAppRegistration'])
  t.same(completed('listAppRegistrations', '--order', 'd'), ['desc'])
  t.same(completed('listAppRegistrations', '--unu'), ['--unusedSince'])
})
