/** Values come from closed sets, because Prometheus keeps a series for each combination. */
type Labels = Readonly<Record<string, string>>

/** A metric with its current values in one process. */
export interface Family {
  name: string
  help: string
  type: 'counter' | 'gauge' | 'histogram'
  /** How the values of several processes are combined. */
  across: 'sum' | 'max'
  /** Values by suffix and labels, as they follow the name in the exposition. */
  samples: Record<string, number>
}

type Description = Omit<Family, 'samples'>

export class Counter {
  value = 0

  increment(): void {
    this.value++
  }
}

/** Counts observations by upper bound, inclusive. */
export class Histogram {
  readonly #bounds: readonly number[]
  readonly #counts: Float64Array
  #sum = 0

  constructor(bounds: readonly number[]) {
    this.#bounds = bounds
    this.#counts = new Float64Array(bounds.length + 1)
  }

  observe(value: number): void {
    const found = this.#bounds.findIndex(bound => value <= bound)
    const index = found < 0 ? this.#bounds.length : found
    this.#counts[index] = (this.#counts[index] ?? 0) + 1
    this.#sum += value
  }

  samples(): Record<string, number> {
    const samples: Record<string, number> = {}
    let count = 0
    for (const [index, bound] of [...this.#bounds, '+Inf'].entries()) {
      count += this.#counts[index] ?? 0
      samples[`_bucket{le="${bound}"}`] = count
    }
    return { ...samples, _sum: this.#sum, _count: count }
  }
}

/**
 * Holds the metrics of one process. Counters and histograms cost an addition where they are used. Everything else is
 * read when Prometheus scrapes.
 *
 * To add a metric, write `measureSubject(registry, …)` in the `metrics.ts` of the room that knows the subject, and call
 * it in app.ts or in runtime/. Give it an object to read from. Where the room has to report events, let it return
 * callbacks, whose type the room defines; app.ts passes them to the room's plugin. No other file of a room knows the
 * registry. Names begin with `grantd_`, counters end in `_total`, units are seconds and bytes. Labels come from a closed
 * set: never a client, a Site or input.
 */
export class Registry {
  readonly #families = new Map<string, Description & { series: (() => Record<string, number>)[] }>()
  readonly #preparations: (() => Promise<void>)[] = []

  counter(name: string, help: string, labels: Labels = {}): Counter {
    const counter = new Counter()
    this.reading({ name, help, type: 'counter' }, () => counter.value, labels)
    return counter
  }

  histogram(name: string, help: string, bounds: readonly number[]): Histogram {
    const histogram = new Histogram(bounds)
    this.#add({ name, help, type: 'histogram', across: 'sum' }, () => histogram.samples())
    return histogram
  }

  /** Adds a gauge, or a counter that is kept elsewhere. `read` returns undefined while the value is not known. */
  reading(
    { name, help, type = 'gauge', across = 'sum' }: Pick<Description, 'name' | 'help'> & Partial<Description>,
    read: () => number | undefined,
    labels: Labels = {}
  ): void {
    const key = labelText(labels)
    this.#add({ name, help, type, across }, () => {
      const value = read()
      return value === undefined ? {} : { [key]: value }
    })
  }

  /** Runs `prepare` before each scrape. It must not throw. */
  beforeReading(prepare: () => Promise<void>): void {
    this.#preparations.push(prepare)
  }

  async read(): Promise<Family[]> {
    await Promise.all(this.#preparations.map(prepare => prepare()))
    return [...this.#families.values()].map(({ series, ...description }) => ({
      ...description,
      samples: Object.assign({}, ...series.map(read => read()))
    }))
  }

  #add(description: Description, read: () => Record<string, number>): void {
    const family = this.#families.get(description.name)
    if (family === undefined) this.#families.set(description.name, { ...description, series: [read] })
    else family.series.push(read)
  }
}

/** Combines the metrics of several processes. */
export function addUp(processes: readonly (readonly Family[])[]): Family[] {
  const total = new Map<string, Family>()
  for (const family of processes.flat()) {
    const sum = total.get(family.name)
    if (sum === undefined) {
      total.set(family.name, { ...family, samples: { ...family.samples } })
      continue
    }
    for (const [key, value] of Object.entries(family.samples)) {
      const known = sum.samples[key]
      if (known === undefined) sum.samples[key] = value
      else sum.samples[key] = family.across === 'sum' ? known + value : Math.max(known, value)
    }
  }
  return [...total.values()]
}

/** Keeps the counters and histograms of a process that has ended, so that no counter goes back. Its gauges are dropped. */
export function whatItCounted(families: readonly Family[]): Family[] {
  return families.filter(({ type }) => type !== 'gauge')
}

/** Writes metrics in the Prometheus text format, version 0.0.4. */
export function expose(families: readonly Family[]): string {
  return families
    .map(({ name, help, type, samples }) => {
      const lines = Object.entries(samples).map(([key, value]) => `${name}${key} ${numberText(value)}\n`)
      return `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n${lines.join('')}`
    })
    .join('')
}

export const EXPOSITION_TYPE = 'text/plain; version=0.0.4; charset=utf-8'

function labelText(labels: Labels): string {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${value.replaceAll(/[\\"\n]/g, escapeOf)}"`)
  return pairs.length === 0 ? '' : `{${pairs.join(',')}}`
}

function escapeOf(character: string): string {
  return character === '\n' ? '\\n' : `\\${character}`
}

function numberText(value: number): string {
  return Number.isFinite(value) || Number.isNaN(value) ? String(value) : value > 0 ? '+Inf' : '-Inf'
}
