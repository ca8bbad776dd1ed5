/**
 * The fields of a registration that administrators set, written down once.
 *
 * Bodies, audit events, retries and answers derive from `fieldSchemas`. A field that is missing in one of the functions
 * below is a type error.
 */

import { Type } from 'typebox'
import { parseInstant } from '../admin-api/instant.ts'
import type { RegistrationTable } from '../database/schema.ts'
import { nullable } from '../http/json-schema.ts'
import type { Fault } from '../http/problem.ts'
import { audienceFaults } from './audience.ts'
import { expiryFault } from './lifecycle.ts'
import { foldName, nameFault, normaliseName } from './name.ts'
import { scopeFaults } from './scopes.ts'

const MAX_SCOPES = 50
const SCOPE_MAX_LENGTH = 128
const MAX_AUDIENCES = 10
const AUDIENCE_MAX_LENGTH = 512
/** A shorter token would cost its client a request a minute. */
const TOKEN_LIFETIME_MIN_SECONDS = 60
/** The longest that ACCESS_TOKEN_TTL_SECONDS can be. */
const TOKEN_LIFETIME_MAX_SECONDS = 3_600

export const fieldSchemas = {
  name: Type.String({
    description:
      'Name of the consumer, for people. It is trimmed and kept in Unicode NFC. It has 1 to 100 code points, at least one of them visible, and no control or text direction character. Joiners are allowed where a script or an emoji needs them. Names need not be unique.',
    examples: ['billing export']
  }),
  expiresAt: Type.String({
    format: 'date-time',
    description:
      'Instant from which every credential is refused: RFC 3339 with an offset, in the future, within the maximum lifetime. It is kept in milliseconds.',
    examples: ['2027-06-30T22:00:00.000Z']
  }),
  enabled: Type.Boolean({
    description:
      'When false, the token endpoint refuses the client although everything else is valid. It can be set to true again.',
    examples: [true]
  }),
  scopes: Type.Array(
    Type.String({
      pattern: '^[!#-\\[\\]-~]+$',
      'x-fault': 'must be visible ASCII characters except " and \\',
      maxLength: SCOPE_MAX_LENGTH,
      description: 'A scope token: visible ASCII characters except " and \\ (RFC 6749 §3.3)'
    }),
    {
      maxItems: MAX_SCOPES,
      uniqueItems: true,
      description: 'Scopes that the client may ask for. When it asks for none, it gets all of them.',
      examples: [['devices:read']]
    }
  ),
  audiences: Type.Array(
    Type.String({
      pattern: '^[!-~]+$',
      'x-fault': 'must be visible ASCII characters',
      maxLength: AUDIENCE_MAX_LENGTH,
      description:
        'An absolute URI without a fragment and without a user name, or a plain name without ":" in the first place. It has visible ASCII characters only.'
    }),
    {
      maxItems: MAX_AUDIENCES,
      description:
        'Audiences that the client may ask for by the parameter `resource` (RFC 8707). When it asks for none, its token is for the first one. When the list is empty, tokens are for the audience of the whole service. Two audiences that differ only by an empty path against `/` are duplicates.',
      examples: [['https://devices.example.com']]
    }
  ),
  tokenLifetimeSeconds: nullable(
    Type.Integer({
      minimum: TOKEN_LIFETIME_MIN_SECONDS,
      maximum: TOKEN_LIFETIME_MAX_SECONDS,
      description:
        'Lifetime of access tokens, in seconds: from 60 to `ACCESS_TOKEN_TTL_SECONDS`. It is null for `ACCESS_TOKEN_TTL_SECONDS`. Tokens that were issued before keep their expiry.',
      examples: [300]
    })
  ),
  dpopBound: Type.Boolean({
    description:
      'Whether the client gets only access tokens that are bound to a key of its own (DPoP, RFC 9449). When true, the token endpoint refuses a request without a `DPoP` header.',
    examples: [false]
  }),
  mayIntrospect: Type.Boolean({
    description: 'Whether the client may introspect the access tokens of its Site (`POST /oauth/introspect`, RFC 7662)',
    examples: [false]
  }),
  mayIdle: Type.Boolean({
    description:
      'Whether the registration may stay unused, such as that of a job that runs once a year. When true, grantd neither sends a notice that it is unused nor disables it.',
    examples: [false]
  }),
  selfRotation: Type.Boolean({
    description:
      'Whether the client may exchange its current secret for a new one by itself, at most once an hour (`POST /oauth/secret`)',
    examples: [false]
  })
}

export type RegistrationFields = {
  [Name in keyof typeof fieldSchemas]: Type.Static<(typeof fieldSchemas)[Name]>
}

/** Fields that release 0.2.0 has. */
type FirstFields = Pick<RegistrationFields, 'name' | 'expiresAt' | 'enabled' | 'scopes'>

/** Fields that came after release 0.2.0, with the values of a registration that does not set them. */
export const addedFields: Omit<RegistrationFields, keyof FirstFields> = {
  audiences: [],
  tokenLifetimeSeconds: null,
  dpopBound: false,
  mayIntrospect: false,
  mayIdle: false,
  selfRotation: false
}

type FieldColumns = Pick<
  RegistrationTable,
  | ('name' | 'name_folded' | 'expires_at' | 'enabled' | 'scopes' | 'audiences')
  | ('token_lifetime_seconds' | 'dpop_bound' | 'may_introspect' | 'may_idle' | 'self_rotation')
>

/** Returns the fields of a row as an answer has them. */
export function fieldsOf(row: Omit<FieldColumns, 'name_folded'>): RegistrationFields {
  const { name, enabled, scopes, audiences } = row
  return {
    ...{ name, expiresAt: row.expires_at.toISOString(), enabled, scopes, audiences },
    tokenLifetimeSeconds: row.token_lifetime_seconds,
    dpopBound: row.dpop_bound,
    mayIntrospect: row.may_introspect,
    mayIdle: row.may_idle,
    selfRotation: row.self_rotation
  }
}

/** Returns the columns of these fields. @param fields without faults, as `normaliseFields` returns them */
export function columnsOf(fields: RegistrationFields): FieldColumns {
  const { name, enabled, scopes, audiences } = fields
  return {
    ...{ name, name_folded: foldName(name), enabled, scopes, audiences },
    expires_at: new Date(parseInstant(fields.expiresAt)),
    token_lifetime_seconds: fields.tokenLifetimeSeconds,
    dpop_bound: fields.dpopBound,
    may_introspect: fields.mayIntrospect,
    may_idle: fields.mayIdle,
    self_rotation: fields.selfRotation
  }
}

/** Returns the fields in the form in which they are kept and answered. */
export function normaliseFields(input: RegistrationFields): RegistrationFields {
  return { ...input, name: normaliseName(input.name), expiresAt: normaliseInstant(input.expiresAt) }
}

/** Returns the instant in UTC. A text that is not an instant stays as it is. */
function normaliseInstant(text: string): string {
  const instant = parseInstant(text)
  return Number.isNaN(instant) ? text : new Date(instant).toISOString()
}

/** Returns the fields as release 0.2.0 writes them, if they are those of a registration that it could have created. */
export function withoutAddedDefaults(fields: RegistrationFields): Partial<RegistrationFields> {
  const defaults: Record<string, unknown> = addedFields
  const told = Object.entries(fields).filter(
    ([name, value]) => !(name in defaults) || JSON.stringify(value) !== JSON.stringify(defaults[name])
  )
  return Object.fromEntries(told)
}

/** Limits that depend on the configuration and on the time. */
export interface FieldRules {
  /** Milliseconds since the epoch. */
  now: number
  maxLifetimeDays: number
  /** The only scopes that a registration can be given. Undefined for any. */
  scopesSupported: readonly string[] | undefined
  /** ACCESS_TOKEN_TTL_SECONDS */
  maxTokenLifetimeSeconds: number
}

/** Returns the fields that the rules judge, in their normal form. @param body members that the schema accepts */
export function judgeableFields(body: object): Partial<RegistrationFields> {
  const { name, expiresAt, scopes, audiences, tokenLifetimeSeconds } = Object(body)
  return {
    ...(typeof name === 'string' && { name: normaliseName(name) }),
    ...(typeof expiresAt === 'string' && { expiresAt: normaliseInstant(expiresAt) }),
    ...(Array.isArray(scopes) && { scopes: scopes.map(String) }),
    ...(Array.isArray(audiences) && { audiences: audiences.map(String) }),
    ...(typeof tokenLifetimeSeconds === 'number' && { tokenLifetimeSeconds })
  }
}

/** Returns what the schemas cannot tell: the faults of normalised fields. */
export function faultsOf(
  { name, expiresAt, scopes, audiences, tokenLifetimeSeconds }: Partial<RegistrationFields>,
  rules: FieldRules
): Fault[] {
  return [
    name === undefined ? undefined : nameFault(name),
    expiresAt === undefined ? undefined : expiryFault(parseInstant(expiresAt), rules.now, rules.maxLifetimeDays),
    ...(scopes === undefined ? [] : scopeFaults(scopes, rules.scopesSupported)),
    ...(audiences === undefined ? [] : audienceFaults(audiences)),
    tokenLifetimeFault(tokenLifetimeSeconds ?? 0, rules.maxTokenLifetimeSeconds)
  ].filter(fault => fault !== undefined)
}

function tokenLifetimeFault(seconds: number, maxSeconds: number): Fault | undefined {
  if (seconds <= maxSeconds) return undefined
  return {
    pointer: '/tokenLifetimeSeconds',
    code: 'beyond_token_lifetime',
    detail: `must be at most ${maxSeconds}, which is ACCESS_TOKEN_TTL_SECONDS`
  }
}

/** Returns what the rules refuse in fields that differ. A field that keeps its value is not judged again. */
export function faultsOfChanged(before: RegistrationFields, after: RegistrationFields, rules: FieldRules): Fault[] {
  const changes = changesBetween(before, after)
  return faultsOf(after, rules).filter(({ pointer = '' }) => (pointer.split('/')[1] ?? '') in changes)
}

/** Returns each field that differs. Undefined stands for a registration before it was created or after its deletion. */
export function changesBetween(
  before: RegistrationFields | undefined,
  after: RegistrationFields | undefined
): Record<string, { from: unknown; to: unknown }> {
  const from: Record<string, unknown> = { ...before }
  const to: Record<string, unknown> = { ...after }
  return Object.fromEntries(
    Object.keys(fieldSchemas)
      .map(name => [name, { from: from[name] ?? null, to: to[name] ?? null }] as const)
      .filter(([, change]) => JSON.stringify(change.from) !== JSON.stringify(change.to))
  )
}
