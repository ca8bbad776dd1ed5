import { folded, OWN_OPTIONS, UsageError } from './arguments.ts'
import type { Operation } from './description.ts'

/**
 * Returns a script for bash that defines the command `grantd` and completes its words. Zsh runs it with bashcompinit.
 *
 * @param command words that run the command line, which the script quotes
 * @param words those after `completion`
 * @throws UsageError when they name another shell
 */
export function completionScript(command: readonly string[], words: readonly string[]): string {
  if (words.join(' ') !== 'bash') throw new UsageError('only "completion bash" is known, which zsh can run too')
  const quoted = command.map(word => `'${word.replaceAll("'", `'\\''`)}'`).join(' ')
  return `grantd() { ${quoted} "$@"; }
_grantd() {
  local IFS=$'\\n'
  COMPREPLY=($(compgen -W "$(grantd complete "\${COMP_WORDS[@]:1:$((COMP_CWORD - 1))}" 2>/dev/null)" -- "\${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _grantd grantd`
}

/** Returns the words that may follow. @param words those before the one that is being typed, without the command */
export function candidates(operations: readonly Operation[], words: readonly string[]): string[] {
  const [id, ...rest] = words
  if (id === undefined) return [...operations.map(operation => operation.id), 'completion', '--help']
  const operation = operations.find(known => known.id === id)
  if (operation === undefined) return id === 'completion' ? ['bash'] : []
  const last = rest.at(-1)
  if (last === '--output') return ['json', 'table']
  const option = operation.options.find(({ name }) => last === `--${name}`)
  if (option?.schema.enum !== undefined) return option.schema.enum.map(String)
  if (option !== undefined && option.schema.type !== 'boolean') return []
  const used = new Set(rest.map(word => folded(word.replace(/=.*/, ''))))
  const free = operation.options.filter(({ name, schema }) => schema.type === 'array' || !used.has(folded(name)))
  return [...free.map(({ name }) => name), ...Object.keys(OWN_OPTIONS)].map(name => `--${name}`)
}
