import { execFileSync } from 'node:child_process'
import path from 'node:path'
import t from 'tap'
import { leftOutFor } from '../fixtures/faults/debian.ts'
import { ROOT } from '../fixtures/run/paths.ts'

/**
 * Does what docs/command-line.md says for zsh, then asks its completion as the shell does. The shell itself selects the
 * words that begin with what is typed.
 */
const SCRIPT = `
autoload -Uz compinit bashcompinit && compinit -D && bashcompinit
source <("$1" "$2" completion bash)
COMP_WORDS=(grantd "\${@:3}"); COMP_CWORD=$(($# - 2))
emulate -L sh
_grantd
print -l -- "\${COMPREPLY[@]}"`

t.test('zsh completes what is typed, by bashcompinit', { skip: leftOutFor({ zsh: 'zsh' }) }, async t => {
  const completed = (...words: string[]) => {
    const args = ['-f', '-c', SCRIPT, 'zsh', process.execPath, path.join(ROOT, 'src/commands/cli.ts'), ...words]
    return execFileSync('zsh', args, { encoding: 'utf8' }).trim().split('\n')
  }
  t.ok(completed('createApp').includes('createAppRegistration'))
  t.same(completed('listAppRegistrations', '--order', ''), ['asc', 'desc'])
})
