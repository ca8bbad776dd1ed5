/**
 * Stryker plugin: leaves out what no test of behaviour can notice. These are texts of the API's description, schemas, and the text of an
 * error that is thrown for a developer. What is left out is decided here, by rule, and never by a comment beside the code.
 */

/** The part of Babel's NodePath that the rules read. */
interface NodePath {
  node: { type: string; key?: { name?: string; value?: string }; callee?: { object?: { name?: string } } }
}

const TEXTS = new Set(['description', 'summary', 'title', 'operationId', 'tags', 'examples', 'example', 'schema'])

function shouldIgnore({ node }: NodePath): string | undefined {
  if (node.type === 'ObjectProperty' && TEXTS.has(node.key?.name ?? node.key?.value ?? ''))
    return 'text or schema of the API'
  if (node.type === 'CallExpression' && node.callee?.object?.name === 'Type') return 'schema'
  if (node.type.startsWith('TS')) return 'type'
  return undefined
}

export const strykerPlugins = [{ kind: 'Ignore', name: 'texts', value: { shouldIgnore } }]
