import { OWN_OPTIONS } from './arguments.ts'
import type { Operation, Option } from './description.ts'
import { holdsSecret } from './request.ts'

const LINE_LENGTH = 100

/** Returns a text that lists all operations. */
export function overview(operations: readonly Operation[]): string {
  const width = Math.max(...operations.map(({ id }) => id.length))
  const tags = [...new Set(operations.map(({ tag }) => tag))]
  return [
    'Calls an operation of grantd, as openapi.yaml describes it.',
    '',
    'npm run --silent cli -- <operation> [--option value …] [-f body.yaml]',
    '',
    'GRANTD_URL is the base URL of grantd, and GRANTD_TOKEN (or GRANTD_TOKEN_FILE) the token that is sent.',
    'In development mode both are found when PORT, HOST and DATA_DIR are those of grantd.',
    '"<operation> --help" explains an operation.',
    '"completion bash" prints a function "grantd" with completion, for bash and zsh.',
    ...tags.flatMap(tag => [
      '',
      `${tag}:`,
      ...operations.filter(each => each.tag === tag).map(({ id, summary }) => `  ${id.padEnd(width)}  ${summary}`)
    ])
  ].join('\n')
}

/** Returns a text that explains an operation and its options. */
export function explanation(operation: Operation): string {
  const { id, summary, description, method, path, options, body } = operation
  const required = options.filter(({ isRequired, schema }) => isRequired && schema.enum?.length !== 1)
  return [
    `${summary} (${method} ${path})`,
    '',
    ...wrapped(description, ''),
    '',
    ['npm run --silent cli --', id, ...required.map(usage)].join(' '),
    ...(options.length > 0 ? ['', 'Options of the operation:'] : []),
    ...options.flatMap(option => [
      `  --${option.name}${notes(option)}`,
      ...wrapped(option.schema.description, '      ')
    ]),
    ...(body === undefined
      ? []
      : ['', 'Members of the body may be options, in a file (-f), or both. A value @path is read from a file.']),
    '',
    'Options of the command line:',
    ...Object.entries(OWN_OPTIONS).flatMap(([name, meaning]) => [`  --${name}`, ...wrapped(meaning, '      ')])
  ].join('\n')
}

function usage({ name, schema }: Option): string {
  const { example } = schema
  if (holdsSecret(schema)) return `--${name} @secret-file`
  return `--${name} ${example === undefined ? `<${name}>` : quoted(String(example))}`
}

function quoted(text: string): string {
  return /^[\w.:/@-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`
}

function notes({ isRequired, schema }: Option): string {
  const { type, items, format, enum: values, default: fallback } = schema
  const kind =
    values?.join(' | ') ?? (type === 'array' ? `${items?.type}, may be repeated` : (format ?? type ?? 'YAML'))
  const parts = [kind, ...(isRequired ? ['required'] : []), ...(fallback === undefined ? [] : [`default ${fallback}`])]
  return `  (${parts.join(', ')})`
}

/** Returns a text as lines that begin with `indent`. */
function wrapped(text = '', indent: string): string[] {
  const lines: string[] = []
  for (const word of text.split(/\s+/)) {
    const last = lines.at(-1)
    if (last !== undefined && last.length + word.length < LINE_LENGTH) lines[lines.length - 1] = `${last} ${word}`
    else lines.push(indent + word)
  }
  return lines
}
