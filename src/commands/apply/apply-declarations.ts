import type { Declarations } from './declarations.ts'
import { applyEntry, type EntryOptions } from './entry.ts'
import type { KeyedRegistrations } from './keyed-registrations.ts'
import type { Outcome } from './outcome.ts'
import { prune } from './prune.ts'

interface ApplyOptions extends EntryOptions {
  /** Whether registrations with other keys are deleted. */
  prunes: boolean
  /** How long a registration must be unused to be deleted, as an ISO 8601 duration. */
  unusedFor: string
}

/**
 * Makes the registrations of a Site that have a key what a file says, one after the other.
 *
 * Nothing is pruned when a registration was refused: the new name of a renamed one may be among the refused.
 */
export async function* applyDeclarations(
  registrations: KeyedRegistrations,
  { registrations: declared }: Declarations,
  options: ApplyOptions
): AsyncGenerator<Outcome> {
  let hasRefused = false
  for (const declaration of declared) {
    const outcome = await applyEntry(registrations, declaration, options)
    hasRefused ||= isRefused(outcome)
    yield outcome
  }
  if (options.prunes && !hasRefused) yield* prune(registrations, new Set(declared.map(({ key }) => key)), options)
}

export function isRefused({ kind }: Outcome): boolean {
  return kind === 'refused'
}
