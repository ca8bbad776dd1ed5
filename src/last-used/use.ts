/**
 * When a client's credentials were last used, milliseconds since the epoch; 0 for not at all. During a rotation a
 * registration has two credentials, of which one has an odd number and the other an even one.
 */
export interface Use {
  oddAt: number
  evenAt: number
}

export function useOf(credentialNumber: number, at: number): Use {
  return credentialNumber % 2 === 1 ? { oddAt: at, evenAt: 0 } : { oddAt: 0, evenAt: at }
}

/** Keeps the later instant of each credential. */
export function mergeUses(one: Use, other: Use): Use {
  return { oddAt: Math.max(one.oddAt, other.oddAt), evenAt: Math.max(one.evenAt, other.evenAt) }
}
