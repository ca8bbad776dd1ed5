import type { Kysely } from 'kysely'
import type { AuditContext } from '../../admin-api/audit-context.ts'
import { type Conditions, requireConditions } from '../../admin-api/if-match.ts'
import type { LockOptions } from '../../admin-api/locked.ts'
import { holdCreates, requireRoomForOneMore } from '../../admin-api/quota.ts'
import type { Site } from '../../admin-api/site.ts'
import type { Database } from '../../database/schema.ts'
import type { Fault } from '../../http/problem.ts'
import {
  deliveryFaults,
  faultsOfCreate,
  insertNew,
  type NewRegistration,
  prepareNew,
  quotaOf
} from '../creation/service.ts'
import { type CredentialAnswer, type CredentialRequest, completed } from '../credential-answer.ts'
import { answerOnce, type FirstAnswer } from '../idempotency/service.ts'
import { credentialFaults } from '../new-credential.ts'
import type { Registration } from '../repository.ts'
import { representRegistration } from '../representation.ts'
import { changeFields, fieldFaults, type RegistrationOptions, rulesOf } from '../service.ts'
import { type Declaration, declaredFields } from './declaration.ts'
import { keyFaults } from './key.ts'
import { findKeyed, lockKeyed } from './repository.ts'

/** A PUT of a key. */
export interface Put extends Conditions {
  key: string
  declaration: Declaration
  /** Whether the expiry may move back. */
  allowShorter: boolean
  /** Whether nothing is to be stored. */
  dryRun: boolean
}

export interface PutAnswer extends CredentialAnswer {
  isCreated: boolean
}

/**
 * Makes the registration of a key what the body says. It creates the registration, changes it, or leaves it with its version
 * and without an audit event when it is so already. Of several requests at once, one creates.
 *
 * A credential is given at the creation only. No later answer has its secret, except that to a retry with the same
 * Idempotency-Key.
 *
 * @throws Problem 400 with every fault; 409 `credential_differs`, `quota_exceeded`, `would_enable` or `would_shorten`; 412;
 * 422 when the Idempotency-Key was used for another request; 503 when too many secrets wait to be hashed
 */
export async function putRegistration(
  site: Site,
  options: RegistrationOptions,
  put: Put,
  request: CredentialRequest & { context: AuditContext }
): Promise<PutAnswer> {
  const { key, declaration, allowShorter } = put
  const { idempotencyKey, context } = request
  const steps = stepsOf(site, options, put, request)
  for (;;) {
    try {
      if (put.dryRun) return await rehearse(site.db, steps)
      const once = { idempotencyKey, context, request: ['put', key, allowShorter, declaration] }
      const answer = await answerOnce(site, options, once, steps)
      options.onChanged(answer.body.clientId, answer.version)
      return { ...completed(answer), isCreated: answer.isCreated }
    } catch (error) {
      if (error !== CHANGED_MEANWHILE) throw error
    }
  }
}

/** A registration has got the key, or lost it, since the request looked for it. The request starts again. */
const CHANGED_MEANWHILE = new Error('a registration has got the key, or lost it, meanwhile')

function stepsOf(
  site: Site,
  options: RegistrationOptions,
  { key, declaration, allowShorter, dryRun, ...conditions }: Put,
  { context, signal }: CredentialRequest & { context: AuditContext }
): FirstAnswer<NewRegistration | undefined, PutAnswer> {
  const { siteId } = site
  const quota = quotaOf(options)
  return {
    prepare: async () => {
      const registration = await findKeyed(site, key)
      requireConditions(conditions, registration?.version)
      if (registration !== undefined) return undefined
      const { enabled = true, ...members } = declaration
      try {
        return await prepareNew(site, options, { ...members, enabled, key }, dryRun ? undefined : signal)
      } catch (error) {
        // Another request may have taken the last place of the Site for this very key.
        throw (await findKeyed(site, key)) === undefined ? error : CHANGED_MEANWHILE
      }
    },
    change: async (trx, prepared) => {
      let before = await lockKeyed(trx, siteId, key)
      if (before === undefined) {
        // Another request may be creating it. It has ended when this lock is free.
        await holdCreates(trx, siteId, quota)
        before = await lockKeyed(trx, siteId, key)
      }
      requireConditions(conditions, before?.version)
      if (before === undefined) {
        if (prepared === undefined) throw CHANGED_MEANWHILE
        await requireRoomForOneMore({ siteId, db: trx }, quota)
        return { ...(await insertNew(trx, site, options, prepared, context)), isCreated: true }
      }
      const rules = rulesOf(options)
      const { federatedIssuers } = options
      const fields = declaredFields(before, declaration, { ...rules, federatedIssuers, allowShorter })
      const after = await changeFields(trx, before, fields, rules.now, context)
      return { body: representRegistration(after, rules.now), version: after.version, isCreated: false }
    }
  }
}

/** Answers a request and rolls its change back. @returns the answer, without a secret or a ticket */
async function rehearse<Prepared>(
  db: Kysely<Database>,
  { prepare, change }: FirstAnswer<Prepared, PutAnswer>
): Promise<PutAnswer> {
  const prepared = await prepare()
  const answers: PutAnswer[] = []
  const rollBack = new Error('a dry run')
  try {
    await db.transaction().execute(async trx => {
      answers.push(await change(trx, prepared))
      throw rollBack
    })
  } catch (error) {
    if (error !== rollBack) throw error
  }
  const [answer] = answers
  if (answer === undefined) throw new Error('a dry run has no answer')
  const { clientSecret: _secret, claim: _claim, ...body } = answer.body
  return { ...answer, body }
}

/** Returns how the registration of a key is locked. */
export function lockOfKey({ siteId }: Site, key: string, ifMatch: string | undefined): LockOptions<Registration> {
  return { lock: trx => lockKeyed(trx, siteId, key), ifMatch }
}

/** Returns what is wrong with the key, and what the rules refuse in the members of a body that the schema accepts. */
export async function faultsOfPut(
  site: Site,
  options: RegistrationOptions,
  key: string,
  body: object
): Promise<Fault[]> {
  const faults = keyFaults(key)
  const registration = faults.length > 0 ? undefined : await findKeyed(site, key)
  if (registration === undefined) return [...faults, ...faultsOfCreate(options, body)]
  return [...fieldFaults(options, registration, body), ...credentialFaults(options, body), ...deliveryFaults(body)]
}
