/** Rules over the name of a registration. */

import type { Fault } from '../http/problem.ts'

export const NAME_MAX_CODE_POINTS = 100

/** Returns the form in which a name is kept: trimmed, Unicode NFC. */
export function normaliseName(name: string): string {
  return name.replaceAll(OUTER_SPACES, '').normalize('NFC')
}

/** Spaces at the ends. `trim` would silently remove control and zero-width characters too. */
const OUTER_SPACES = /^\p{Zs}+|\p{Zs}+$/gu

/** @param name as `normaliseName` returns it */
export function nameFault(name: string): Fault | undefined {
  const pointer = '/name'
  const length = [...name].length
  if (length < 1 || length > NAME_MAX_CODE_POINTS) {
    return { pointer, code: 'invalid_length', detail: `must have 1 to ${NAME_MAX_CODE_POINTS} characters` }
  }
  if (INVISIBLE.test(name) || !VISIBLE.test(name)) {
    return {
      pointer,
      code: 'invalid_character',
      detail: 'must have a visible character, and no control, zero-width or text direction character'
    }
  }
  return undefined
}

/**
 * Controls, format characters (bidirectional overrides, zero-width), lone surrogates, line separators, and letters that
 * have no visible form.
 */
const INVISIBLE =
  /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]|\u034F|[\u115F\u1160\u2800\u3164\uFFA0]|\p{Noncharacter_Code_Point}/u
/** A name has at least one of these: a mark without a base character is not visible. */
const VISIBLE = /[\p{L}\p{N}\p{P}\p{S}]/u

/** Returns the key by which names are sorted and searched: without case and accents. */
export function foldName(name: string): string {
  return name.normalize('NFKD').replaceAll(/\p{M}/gu, '').toLowerCase()
}
