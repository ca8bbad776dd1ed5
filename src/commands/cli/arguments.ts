/** The options of the command line itself, beside those of the operation. */
export const OWN_OPTIONS = {
  file: 'File with the body, in YAML or JSON. `-` is the standard input. Also -f.',
  output: 'json, or table for a list.',
  columns: 'Columns of the table, separated by commas.',
  all: 'Get all pages of a list.',
  include: 'Print the status and the headers of the answer too, to the standard error.',
  help: 'Explain the operation, or list all operations.'
} as const

/** A call as it was typed. */
export interface Arguments {
  /** Undefined when none was given. */
  operationId: string | undefined
  /** Options of the operation, in their order. The value is undefined when there is none. */
  given: readonly { name: string; value: string | undefined }[]
  file: string | undefined
  output: 'json' | 'table'
  columns: readonly string[] | undefined
  isAll: boolean
  isIncluding: boolean
  isHelp: boolean
}

/** A call that cannot be made as it was typed. The message says what to change. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}

/** Names are compared without regard to case, `-` and `_`: `--site-id` is `siteId`. */
export function folded(name: string): string {
  return name.replaceAll(/[-_]/g, '').toLowerCase()
}

/** Reads what was typed after the name of the command. @throws UsageError */
export function readArguments(words: readonly string[]): Arguments {
  const [first] = words
  const operationId = first?.startsWith('-') ? undefined : first
  const options = readOptions(operationId === undefined ? words : words.slice(1))
  const own = new Map(
    options.filter(({ name }) => folded(name) in OWN_OPTIONS).map(({ name, value }) => [folded(name), value])
  )
  const output = own.get('output') ?? 'json'
  if (output !== 'json' && output !== 'table') throw new UsageError('--output must be json or table')
  if (own.has('file') && own.get('file') === undefined) throw new UsageError('--file must name a file, or be -')
  if (own.has('columns') && !own.get('columns')) throw new UsageError('--columns must name columns')
  return {
    operationId,
    given: options.filter(({ name }) => !(folded(name) in OWN_OPTIONS)),
    file: own.get('file'),
    output,
    columns: own.get('columns')?.split(','),
    isAll: own.has('all'),
    isIncluding: own.has('include'),
    isHelp: own.has('help')
  }
}

/** Options of the command line that take no value. */
const FLAGS = ['all', 'include', 'help']
/** A word that is an option, and so no value. A number may be negative. */
const OPTION = /^-[^\d]/
const SHORT: Readonly<Record<string, string>> = { '-f': '--file', '-h': '--help' }

function readOptions(words: readonly string[]): { name: string; value: string | undefined }[] {
  const options: { name: string; value: string | undefined }[] = []
  for (let index = 0; index < words.length; index++) {
    const word = words[index] ?? ''
    const [, name, value] = /^--([^=]+)(?:=([\s\S]*))?$/.exec(SHORT[word] ?? word) ?? []
    if (name === undefined) throw new UsageError(`"${word}" is not an option. Write --name value`)
    const next = words[index + 1]
    const takesNext = value === undefined && next !== undefined && !OPTION.test(next) && !FLAGS.includes(folded(name))
    if (takesNext) index++
    options.push({ name, value: takesNext ? next : value })
  }
  return options
}
