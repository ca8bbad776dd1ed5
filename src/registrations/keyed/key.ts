import { Type } from 'typebox'
import type { Fault } from '../../http/problem.ts'

export const KEY_PATTERN = '^[a-z0-9][a-z0-9._-]{0,62}$'
export const KEY_FAULT =
  'must be 1 to 63 lower-case letters, digits and ".", "_", "-", with a letter or digit at the start'

const described = {
  description:
    'Name of the registration in files and pipelines. It is unique in the Site and never changes. After a delete, another registration can have it.',
  examples: ['device-sync']
}

/** The key of a registration, by which a file or a pipeline names it. */
export const registrationKey = Type.String({ pattern: KEY_PATTERN, 'x-fault': KEY_FAULT, ...described })

/** The key in the path of a request that says itself what is wrong with it: see `keyFaults`. */
export const anyKey = Type.String(described)

/** Returns whether this text can be the key of a registration. */
export function isRegistrationKey(text: string): boolean {
  return KEY.test(text)
}

const KEY = new RegExp(KEY_PATTERN)

/** Returns what is wrong with a key in a path. */
export function keyFaults(key: string): Fault[] {
  return isRegistrationKey(key) ? [] : [{ parameter: 'key', code: 'invalid_value', detail: KEY_FAULT }]
}
