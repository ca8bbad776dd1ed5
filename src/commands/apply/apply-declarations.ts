import type { Declarations } from './declarations.ts'
import { applyEntry, type EntryOptions } from './entry.ts'
import type { KeyedRegistrations } from './keyed-registrations.ts'
import type { Outcome } from './outcome.ts'

interface ApplyOptions extends EntryOptions {
  /** Ends the run before the next registration. */
  interruption: AbortSignal
}

/**
 * Makes the registrations of a Site that have a key what a file says, one after the other.
 *
 * @throws Error when the service is not grantd, the token gives no right to do this, or the run is interrupted
 */
export async function* applyDeclarations(
  registrations: KeyedRegistrations,
  { registrations: declared }: Declarations,
  { interruption, ...options }: ApplyOptions
): AsyncGenerator<Outcome> {
  // A file may be empty, and an entry may be refused without a request.
  await registrations.requireSite()
  for (const declaration of declared) {
    interruption.throwIfAborted()
    yield await applyEntry(registrations, declaration, options)
  }
}
