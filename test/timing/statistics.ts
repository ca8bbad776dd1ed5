/** How far apart two samples of durations are. */
export interface Separation {
  /** Chance that a duration of the second is longer than one of the first: 0.5 when nothing tells them apart. */
  auc: number
  /** Welch's t, without the slowest hundredth of both together. */
  t: number
  medianDifference: number
}

/** Area under the ROC curve as the Mann-Whitney statistic; ties count a half. */
export function separate(first: readonly number[], second: readonly number[]): Separation {
  return {
    auc: areaUnderCurve(first, second),
    t: welch(...withoutSlowest(first, second)),
    medianDifference: quantile(second, 0.5) - quantile(first, 0.5)
  }
}

export function quantile(sample: readonly number[], share: number): number {
  const sorted = sample.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN
}

function areaUnderCurve(first: readonly number[], second: readonly number[]): number {
  const all = [...first.map(value => ({ value, isSecond: false })), ...second.map(value => ({ value, isSecond: true }))]
  all.sort((a, b) => a.value - b.value)
  let rankSum = 0
  for (let start = 0; start < all.length; ) {
    let end = start
    while (end < all.length && all[end]?.value === all[start]?.value) end++
    const rank = (start + 1 + end) / 2
    for (const { isSecond } of all.slice(start, end)) if (isSecond) rankSum += rank
    start = end
  }
  return (rankSum - (second.length * (second.length + 1)) / 2) / (first.length * second.length)
}

function withoutSlowest(first: readonly number[], second: readonly number[]): [number[], number[]] {
  const limit = quantile([...first, ...second], 0.99)
  return [first.filter(value => value <= limit), second.filter(value => value <= limit)]
}

function welch(first: readonly number[], second: readonly number[]): number {
  const difference = mean(second) - mean(first)
  return difference / Math.sqrt(variance(first) / first.length + variance(second) / second.length)
}

function mean(sample: readonly number[]): number {
  return sample.reduce((sum, value) => sum + value, 0) / sample.length
}

function variance(sample: readonly number[]): number {
  const middle = mean(sample)
  return sample.reduce((sum, value) => sum + (value - middle) ** 2, 0) / (sample.length - 1)
}
