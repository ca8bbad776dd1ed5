/** Rules over the body of a PUT and the registration that has the key. Pure. */

import { parseInstant } from '../../admin-api/instant.ts'
import { invalidRequest } from '../../admin-api/validation.ts'
import { type Credential, credentialOf, SECRET } from '../../credentials/credential.ts'
import { type DeliveryInput, deliveryFaults } from '../creation/service.ts'
import type { CredentialInput } from '../credential-schemas.ts'
import { isSameCredential } from '../credentials.ts'
import { type FieldRules, faultsOfChanged, fieldsOf, normaliseFields, type RegistrationFields } from '../fields.ts'
import { disabledReasonOf } from '../lifecycle.ts'
import { readCredential } from '../new-credential.ts'
import type { Registration } from '../repository.ts'
import { credentialDiffers, wouldEnable, wouldShorten } from './errors.ts'

/** The body of a PUT. The schema's defaults complete it, except for `enabled`. */
export interface Declaration extends Omit<RegistrationFields, 'enabled'>, CredentialInput, DeliveryInput {
  enabled?: boolean
}

export interface DeclarationRules extends FieldRules {
  federatedIssuers: readonly string[]
  /** Whether the expiry may move back. */
  allowShorter: boolean
}

/**
 * Returns the fields that a declaration gives to a registration that exists.
 *
 * A declaration takes nothing back that somebody has done since it was written. It does not rotate, and the caller must say
 * so when the expiry shall move back or a disabled registration shall be enabled.
 *
 * @throws Problem 400 with every fault; 409 `credential_differs`, `would_shorten` or `would_enable`
 */
export function declaredFields(
  registration: Registration,
  declaration: Declaration,
  { federatedIssuers, allowShorter, ...rules }: DeclarationRules
): RegistrationFields {
  const { publicKey, federated, deliver: _atCreation, enabled = true, ...members } = declaration
  const before = fieldsOf(registration)
  const fields = normaliseFields({ ...members, enabled })
  const shortens = !allowShorter && parseInstant(fields.expiresAt) < parseInstant(before.expiresAt)
  const current = credentialOf(registration.credential)
  // A credential that stays is not judged again: its issuer may have left the configuration.
  const issuers = current.kind === 'federated' ? [...federatedIssuers, current.issuer] : federatedIssuers
  const read = readCredential({ publicKey, federated }, issuers)
  const faults = [
    // An expiry that is refused as shorter is not judged: that of an old file has often passed.
    ...faultsOfChanged(before, shortens ? { ...fields, expiresAt: before.expiresAt } : fields, rules),
    ...('faults' in read ? read.faults : []),
    ...deliveryFaults(declaration)
  ]
  if ('faults' in read || faults.length > 0) throw invalidRequest(faults)
  const { given = SECRET } = read
  if (!isDeclared(current, given)) throw credentialDiffers(registration.client_id, current, given)
  if (shortens) throw wouldShorten(before.expiresAt)
  if (declaration.enabled === undefined && !before.enabled) throw wouldEnable(disabledReasonOf(registration))
  return fields
}

/** A declaration cannot name a secret, so that it means any. */
function isDeclared(current: Credential, declared: Credential): boolean {
  return declared.kind === 'secret' ? current.kind === 'secret' : isSameCredential(declared, current)
}
