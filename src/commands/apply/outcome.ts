/** The report of a run, for a reviewer. Pure. */

import { changesBetween, fieldSchemas, type RegistrationFields } from '../../registrations/fields.ts'

/** The result of one registration. */
export interface Outcome {
  key: string
  kind: 'created' | 'changed' | 'unchanged' | 'deleted' | 'refused'
  /** More about it, beside its key. May be empty. */
  note: string
  /** The members that differ, or why it was refused. */
  lines: readonly string[]
}

type Kind = Outcome['kind']

const SIGNS: Record<Kind, string> = { created: '+', changed: '~', unchanged: '=', deleted: '-', refused: '!' }

export function isRefused({ kind }: Outcome): boolean {
  return kind === 'refused'
}

/** Returns the lines of an outcome. @param dryRun whether nothing was stored */
export function linesOf({ key, kind, note, lines }: Outcome, dryRun: boolean): string {
  const head = `${SIGNS[kind]} ${key}  ${wordsOf(kind, dryRun)}${note && `, ${note}`}`
  return [head, ...lines.map(line => `    ${line}`)].join('\n')
}

/** Returns how many registrations have which outcome. */
export function summaryOf(outcomes: readonly Outcome[], dryRun: boolean): string {
  const kinds: Kind[] = ['created', 'changed', 'unchanged', 'deleted', 'refused']
  const counts = kinds
    .map(kind => ({ kind, count: outcomes.filter(outcome => outcome.kind === kind).length }))
    .filter(({ count }) => count > 0)
    .map(({ kind, count }) => `${count} ${wordsOf(kind, dryRun)}`)
  return `${dryRun ? 'Dry run, nothing is stored: ' : ''}${counts.join(', ') || 'nothing to do'}`
}

function wordsOf(kind: Kind, dryRun: boolean): string {
  return dryRun && ['created', 'changed', 'deleted'].includes(kind) ? `would be ${kind}` : kind
}

/** Returns the members of a new registration that its declaration names, and its credential. */
export function newMemberLines(declared: object, registration: object): string[] {
  const { credential, ...members } = Object(registration)
  const named = Object.keys(fieldSchemas).filter(name => name in declared)
  return [
    ...named.map(name => `${name}: ${JSON.stringify(members[name])}`),
    `credential: ${credentialInWords(credential)}`
  ]
}

/** Returns the members that differ between two answers. */
export function changedMemberLines(before: RegistrationFields, after: RegistrationFields): string[] {
  return Object.entries(changesBetween(before, after)).map(
    ([name, { from, to }]) => `${name}: ${JSON.stringify(from)} -> ${JSON.stringify(to)}`
  )
}

function credentialInWords({ kind, keyId, alg, issuer, subject }: Record<string, unknown>): string {
  if (kind === 'key') return `key ${keyId} (${alg})`
  return kind === 'federated' ? `subject ${subject} of ${issuer}` : 'Client secret'
}
