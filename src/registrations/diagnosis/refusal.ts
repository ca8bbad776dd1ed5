/** A refused token request that names a registration. */

/**
 * A slot of a diagnosis. A caller that guesses secrets overwrites `withoutCredential` only, so no flood of guesses hides a
 * refusal of the service that has the right credential.
 */
export type Slot = 'withCredential' | 'withoutCredential'

export interface Refusal {
  /** Milliseconds since the epoch. */
  at: number
  /** As in the log. */
  reason: string
  /** Address that the request came from. */
  source: string
  /** How many refusals this one stands for. It is the latest of them. */
  count: number
}

/** The refusals of one registration. */
export type Refusals = { readonly [Name in Slot]?: Refusal | undefined }

/** Returns the later refusal of two, with the sum of their counts. */
export function mergeRefusals(one: Refusal | undefined, other: Refusal | undefined): Refusal | undefined {
  if (one === undefined || other === undefined) return one ?? other
  return { ...(one.at > other.at ? one : other), count: one.count + other.count }
}
