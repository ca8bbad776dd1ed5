import { type ErrorCode, isScalar, LineCounter, parseDocument, visit } from 'yaml'

/** YAML that cannot be read. The message has a line for each fault, and nothing of the text. */
export class YamlError extends Error {
  override readonly name = 'YamlError'
}

/**
 * Reads YAML or JSON.
 *
 * The text may hold secrets, so that a fault is shown by its line, column and reason only.
 *
 * @throws YamlError
 */
export function readYaml(text: string): unknown {
  const lines = new LineCounter()
  const document = parseDocument(text, { stringKeys: true, prettyErrors: false, lineCounter: lines })
  const faults = [...document.errors, ...document.warnings].map(({ code, pos }) => ({
    offset: pos[0],
    reason: REASONS[code]
  }))
  visit(document, {
    Pair: (_, { key }) => {
      if (isScalar(key) && key.value === '<<') faults.push({ offset: key.range?.[0] ?? 0, reason: MERGE_KEY })
    }
  })
  if (faults.length > 0) throw new YamlError(linesOf(faults, lines))
  try {
    return document.toJS()
  } catch {
    throw new YamlError('an alias names an anchor that is not before it, or there are too many aliases')
  }
}

/** Whether a value has members with names. */
export function isMapping(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

interface Fault {
  /** Place in the text. */
  offset: number
  reason: string
}

const MAX_FAULTS = 10

function linesOf(faults: readonly Fault[], lines: LineCounter): string {
  const shown = faults.slice(0, MAX_FAULTS).map(({ offset, reason }) => {
    const { line, col } = lines.linePos(Math.max(offset, 0))
    return `line ${line}, column ${col}: ${reason}`
  })
  const others = faults.length - shown.length
  return [...shown, ...(others > 0 ? [`and ${others} more`] : [])].join('\n')
}

const MERGE_KEY = 'merge keys ("<<") are not read, so write the members out'
const ANCHOR = 'an anchor or alias is wrong'

/** Reasons without the words of the text, which the messages of the parser may repeat. */
const REASONS: Readonly<Record<ErrorCode, string>> = {
  ALIAS_PROPS: ANCHOR,
  BAD_ALIAS: ANCHOR,
  BAD_COLLECTION_TYPE: 'the tag is for another kind of value',
  BAD_DIRECTIVE: 'the directive is unknown',
  BAD_DQ_ESCAPE: 'the escape in a quoted text is unknown',
  BAD_INDENT: 'the indent is wrong',
  BAD_PROP_ORDER: ANCHOR,
  BAD_SCALAR_START: 'a text that begins with this character must be in quotes',
  BLOCK_AS_IMPLICIT_KEY: 'a mapping or list cannot begin here',
  BLOCK_IN_FLOW: 'only values in braces or brackets can be here',
  DUPLICATE_KEY: 'the key is there already',
  IMPOSSIBLE: 'this cannot be read',
  KEY_OVER_1024_CHARS: 'the key is too long',
  MISSING_CHAR: 'a character is missing, such as ":", ",", a space or a closing quote',
  MULTILINE_IMPLICIT_KEY: 'a key must be on one line',
  MULTIPLE_ANCHORS: ANCHOR,
  MULTIPLE_DOCS: 'a second document begins here, and only one is read',
  MULTIPLE_TAGS: 'there are two tags',
  NON_STRING_KEY: 'a key must be a text',
  TAB_AS_INDENT: 'a tab cannot indent',
  TAG_RESOLVE_FAILED: 'the tag is unknown, or its value is not of that kind',
  UNEXPECTED_TOKEN: 'this is not expected here'
}
