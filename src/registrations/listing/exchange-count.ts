/** Counts below have buckets of their own. */
export const FEW_EXCHANGES = 100

/** The first bucket of counts that share it. */
export const FIRST_SHARED_BUCKET = bucketOf(FEW_EXCHANGES)

/**
 * Returns the bucket of a number of exchanges, by which an index has them in order: 100 times the number of its digits, plus
 * the first two of them. The function of the same rule is in migrations/0013_exchange_counts.sql.
 */
export function bucketOf(exchangeCount: number): number {
  const digits = String(exchangeCount)
  return 100 * digits.length + Number(digits.slice(0, 2))
}
