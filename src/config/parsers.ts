import { availableParallelism } from 'node:os'

/** How a variable is read, and what applies without it. */
export interface VariableParser<T> {
  /** The default, as the documentation shows it. */
  fallback: string
  isSecret?: boolean
  /** @throws Error whose message completes "NAME must be …". It never repeats the value, which may be a secret */
  parse: (value: string | undefined) => T
}

type Format<T> = (value: string) => T

export function text(fallback: string, pattern = /./, rule = 'text'): VariableParser<string> {
  return {
    fallback: `\`${fallback}\``,
    parse: (value = fallback) => {
      if (!pattern.test(value)) throw new Error(rule)
      return value
    }
  }
}

export function withDefault<T>(format: Format<T>, fallback: string): VariableParser<T> {
  return { fallback: `\`${fallback}\``, parse: (value = fallback) => format(value) }
}

export function wholeNumber(fallback: number, min: number, max: number): VariableParser<number> {
  return {
    fallback: `\`${fallback}\``,
    parse: (value = String(fallback)) => {
      const number = Number(value)
      if (!/^\d{1,9}$/.test(value) || number < min || number > max) {
        throw new Error(`a whole number from ${min} to ${max}`)
      }
      return number
    }
  }
}

/** A number that may also be 0, which turns something off. */
export function zeroOr({ fallback, parse }: VariableParser<number>): VariableParser<number> {
  return {
    fallback,
    parse: value => {
      if (value === '0') return 0
      try {
        return parse(value)
      } catch (error) {
        throw new Error(`0 or ${error instanceof Error ? error.message : String(error)}`)
      }
    }
  }
}

/** A number of processes. `auto` is one for each core. */
export function processCount(fallback: number, max: number): VariableParser<number> {
  const { parse } = wholeNumber(fallback, 1, max)
  return {
    fallback: `\`${fallback}\``,
    parse: value => {
      if (value === 'auto') return Math.min(availableParallelism(), max)
      try {
        return parse(value)
      } catch (error) {
        throw new Error(`${error instanceof Error ? error.message : String(error)}, or auto`)
      }
    }
  }
}

export function oneOf<const T extends string>(choices: readonly T[], fallback: NoInfer<T>): VariableParser<T> {
  return {
    fallback: `\`${fallback}\``,
    parse: (value = fallback) => {
      const choice = choices.find(known => known === value)
      if (choice === undefined) throw new Error(`one of ${choices.join(', ')}`)
      return choice
    }
  }
}

export function onOrOff(fallback: boolean): VariableParser<boolean> {
  const { parse } = oneOf(['true', 'false'], fallback ? 'true' : 'false')
  return { fallback: `\`${fallback}\``, parse: value => parse(value) === 'true' }
}

/** @param fallback what applies without the variable, in words */
export function optional<T>(format: Format<T>, fallback: string): VariableParser<T | undefined> {
  return { fallback, parse: value => (value === undefined ? undefined : format(value)) }
}

export function secret<T>(format: Format<T>, fallback: string): VariableParser<T | undefined> {
  return { ...optional(format, fallback), isSecret: true }
}

export function list<T>(format: Format<T>, fallback: string): VariableParser<T[]> {
  return { fallback, parse: (value = '') => itemsOf(value).map(format) }
}

/** A list that is a secret. */
export function secretList<T>(format: Format<T>, max: number, fallback: string): VariableParser<T[]> {
  return {
    fallback,
    isSecret: true,
    parse: (value = '') => {
      const items = itemsOf(value).map(format)
      if (items.length > max) throw new Error(`a list of at most ${max} items, separated by commas`)
      return items
    }
  }
}

function itemsOf(value: string): string[] {
  return value
    .split(',')
    .map(item => item.trim())
    .filter(Boolean)
}
