/**
 * When a client's credentials were last used, milliseconds since the epoch; 0 for not at all. During a rotation a
 * registration has two credentials, of which one has an odd number and the other an even one.
 */
export interface Use {
  oddAt: number
  evenAt: number
  /** Exchanges that it stands for. Negative when it takes back some that were counted twice. */
  count: number
}

export function useOf(credentialNumber: number, at: number, count = 1): Use {
  return credentialNumber % 2 === 1 ? { oddAt: at, evenAt: 0, count } : { oddAt: 0, evenAt: at, count }
}

/** Keeps the later instant of each credential, and the number of exchanges of both. */
export function mergeUses(one: Use, other: Use): Use {
  return {
    oddAt: Math.max(one.oddAt, other.oddAt),
    evenAt: Math.max(one.evenAt, other.evenAt),
    count: one.count + other.count
  }
}
