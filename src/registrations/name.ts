/** Rules over the name of a registration. */

import type { Fault } from '../http/problem.ts'

const MAX_CODE_POINTS = 100

/**
 * No text that is longer than this, in UTF-16 units, has a normal form of 100 code points. It is not normalised, because
 * that takes quadratic time for long runs of combining marks.
 */
const MAX_NORMALISED_LENGTH = 1_000

/** Returns the form in which a name is kept: trimmed, Unicode NFC. */
export function normaliseName(name: string): string {
  const trimmed = trimSpaces(name)
  return trimmed.length > MAX_NORMALISED_LENGTH ? trimmed : trimmed.normalize('NFC')
}

/** Removes spaces at both ends. `trim` would silently remove control and zero-width characters too. */
function trimSpaces(text: string): string {
  let [start, end] = [0, text.length]
  while (start < end && SPACE.test(text.charAt(start))) start++
  while (start < end && SPACE.test(text.charAt(end - 1))) end--
  return text.slice(start, end)
}

const SPACE = /^\p{Zs}$/u

/** @param name as `normaliseName` returns it */
export function nameFault(name: string): Fault | undefined {
  const pointer = '/name'
  const length = [...name].length
  if (length < 1 || length > MAX_CODE_POINTS) {
    return { pointer, code: 'invalid_length', detail: `must have 1 to ${MAX_CODE_POINTS} characters` }
  }
  if (INVISIBLE.test(withoutEmoji(name).replaceAll(IN_CONTEXT, '')) || !VISIBLE.test(name)) {
    return {
      pointer,
      code: 'invalid_character',
      detail:
        'must have a visible character, no control or text direction character, and joiners only where they change how neighbouring characters look'
    }
  }
  return undefined
}

/**
 * Controls, format characters (bidirectional overrides, zero-width), lone surrogates, line separators, everything that
 * Unicode says has no visible form, and four characters whose form is blank.
 */
const INVISIBLE =
  /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}\p{Noncharacter_Code_Point}\u2800\u{1D159}\u{13441}\u{13442}\u{16FE4}]/u
/** A name has at least one of these: a mark without a base character is not visible. */
const VISIBLE = /[\p{L}\p{N}\p{P}\p{S}]/u

/** Emoji may be composed with U+200D, and flags with tag characters (UTS #51). */
function withoutEmoji(name: string): string {
  return name.replaceAll(JOINER_OF_EMOJI, '').replaceAll(/\p{RGI_Emoji}/gv, '*')
}

const JOINER_OF_EMOJI = /(?<=\p{ExtPict}[\uFE0F\p{EMod}]?)\u200D(?=\p{ExtPict})/gu

/** Marks with the canonical combining class Virama, which take the vowel off a letter. */
const VIRAMA =
  '\u094D\u09CD\u0A4D\u0ACD\u0B4D\u0BCD\u0C4D\u0CCD\u0D3B\u0D3C\u0D4D\u0DCA\u0EBA\u0E3A\u0F84\u1039\u103A\u1714\u1734\u17D2\u1A60\u1B44\u1BAA\u1BAB\u1BF2\u1BF3\uA806\uA8C4\uA953\uA9C0\uAAF6\uABED'
/** Arabic letters that do not join the next letter: a non-joiner after one would not be visible. */
const NOT_JOINING_LEFT =
  '\u0621-\u0625\u0627\u0629\u062F-\u0632\u0648\u0671-\u0677\u0688-\u0699\u06C0\u06C3-\u06CB\u06CD\u06CF\u06D2\u06D3\u06D5\u06EE\u06EF\u0759-\u075B\u076B\u076C\u0771\u0773\u0774\u0778\u0779\u08AA-\u08AC\u08AE\u08B1\u08B2\u08B9'
const ARABIC_LETTER = '[\\p{Script=Arabic}&&\\p{L}]'

/**
 * Invisible characters where they change how their neighbours look. Joiners: both after a Virama, and U+200C between two
 * Arabic letters that would join (RFC 5892 appendix A, RFC 8264 §9.8). Variation selectors after an emoji or a Han
 * character (UTS #51, UTS #37).
 */
const IN_CONTEXT = new RegExp(
  `(?<=\\p{Emoji})[\\uFE0E\\uFE0F]|(?<=\\p{Script=Han})[\\u{E0100}-\\u{E01EF}]|(?<=[${VIRAMA}])[\\u200C\\u200D]|(?<=[${ARABIC_LETTER}--[${NOT_JOINING_LEFT}]])\\u200C(?=${ARABIC_LETTER})`,
  'gv'
)

/** Returns the key by which names are sorted and searched: without case, accents and joiners. */
export function foldName(name: string): string {
  return name
    .normalize('NFKD')
    .replaceAll(/[\p{M}\u200C\u200D]/gu, '')
    .toLowerCase()
}
