/**
 * When the secrets of a client were last used, milliseconds since the epoch; 0 for not. While a rotation is under way
 * a registration has two secrets, of which one has an odd number and the other an even one.
 */
export interface Use {
  oddAt: number
  evenAt: number
}

export function useOf(credentialNumber: number, at: number): Use {
  return credentialNumber % 2 === 1 ? { oddAt: at, evenAt: 0 } : { oddAt: 0, evenAt: at }
}

/** Both uses as one. */
export function later(one: Use, other: Use | undefined): Use {
  if (other === undefined) return one
  return { oddAt: Math.max(one.oddAt, other.oddAt), evenAt: Math.max(one.evenAt, other.evenAt) }
}
