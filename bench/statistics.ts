/** The median of several measurements, with the least and the greatest. */
export interface Spread {
  median: number
  min: number
  max: number
}

export function spread(values: readonly number[]): Spread {
  const sorted = Float64Array.from(values).sort()
  const middle = (sorted.length - 1) / 2
  const median = ((sorted[Math.floor(middle)] ?? Number.NaN) + (sorted[Math.ceil(middle)] ?? Number.NaN)) / 2
  return { median, min: sorted.at(0) ?? Number.NaN, max: sorted.at(-1) ?? Number.NaN }
}

/**
 * Returns the value that this share of the sorted values does not exceed (nearest rank).
 *
 * @param share 0 to 1
 */
export function percentile(sorted: Float64Array, share: number): number {
  return sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)] ?? Number.NaN
}

/**
 * Returns the spread of ours over theirs, round by round. A disturbance of the machine lasts longer than one
 * measurement, so that it changes both values of a round.
 *
 * @param ours one value for each round
 * @param theirs of the same rounds
 */
export function pairwiseRatio(ours: readonly number[], theirs: readonly number[]): Spread {
  return spread(ours.map((value, round) => value / (theirs[round] ?? Number.NaN)))
}

/** Returns the slope of the line that fits the points best (least squares). */
export function slope(points: readonly { x: number; y: number }[]): number {
  const mean = (values: number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length
  const x = mean(points.map(point => point.x))
  const y = mean(points.map(point => point.y))
  const covariance = mean(points.map(point => (point.x - x) * (point.y - y)))
  return covariance / mean(points.map(point => (point.x - x) ** 2))
}
