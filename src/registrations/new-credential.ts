import type { FederatedCredential, KeyCredential } from '../credentials/credential.ts'
import { federatedFaults } from '../credentials/federated-subject.ts'
import { type Jwk, readPublicKey } from '../credentials/public-key.ts'
import type { NewSecretMac } from '../credentials/secret-mac.ts'
import type { Fault } from '../http/problem.ts'
import type { NewSecret, SecretOptions } from './client-secret.ts'
import type { CredentialInput } from './credential-schemas.ts'
import type { CurrentCredentialColumns } from './repository.ts'

/** A credential that a caller gives. grantd makes a secret for a caller that gives none. */
export type GivenCredential = KeyCredential | FederatedCredential

export type NewCredential = NewSecret | GivenCredential

export interface NewCredentialOptions extends SecretOptions {
  /** Issuers that the credential of a registration may name. */
  federatedIssuers: readonly string[]
  /** Computes the MAC and the digest that are stored beside the hash of a secret. */
  macKeys: { create: (clientId: string, secret: string) => NewSecretMac }
}

/** Reads the credential that a caller gives. @returns undefined for a secret; or every fault */
export function readCredential(
  { publicKey, federated }: CredentialInput,
  federatedIssuers: readonly string[]
): { given: GivenCredential | undefined } | { faults: Fault[] } {
  const key = publicKey === undefined ? undefined : readKey(publicKey)
  const faults = [
    ...(key !== undefined && 'faults' in key ? key.faults : []),
    ...(federated === undefined ? [] : federatedFaults(federated, federatedIssuers).map(below('/federated'))),
    ...(publicKey !== undefined && federated !== undefined ? [TWO_CREDENTIALS] : [])
  ]
  if (faults.length > 0 || (key !== undefined && 'faults' in key)) return { faults }
  return { given: key?.key ?? (federated && { kind: 'federated', ...federated }) }
}

const TWO_CREDENTIALS: Fault = {
  pointer: '/federated',
  code: 'two_credentials',
  detail: 'cannot be given beside publicKey, because the new credential is one of them'
}

function readKey(jwk: Jwk): { key: KeyCredential } | { faults: Fault[] } {
  const read = readPublicKey(jwk)
  if ('key' in read) return read
  return {
    faults: read.faults.map(({ member, code, detail }) =>
      below('/publicKey')({ pointer: member === undefined ? '' : `/${member}`, code, detail })
    )
  }
}

function below(parent: string) {
  return (fault: Fault): Fault => ({ ...fault, pointer: parent + (fault.pointer ?? '') })
}

/** Returns what the rules refuse in the members of a body that the schema accepts. */
export function credentialFaults({ federatedIssuers }: NewCredentialOptions, body: object): Fault[] {
  const { publicKey, federated } = Object(body)
  const read = readCredential({ publicKey, federated }, federatedIssuers)
  return 'faults' in read ? read.faults : []
}

/** Returns the columns in which a new credential is stored. */
export function columnsOfCredential(
  { macKeys }: Pick<NewCredentialOptions, 'macKeys'>,
  clientId: string,
  credential: NewCredential
): CurrentCredentialColumns {
  if (credential.kind !== 'secret') {
    return { credential, secret_hash: null, secret_mac: null, secret_mac_key_id: null, secret_digest: null }
  }
  const { mac, keyId, digest } = macKeys.create(clientId, credential.clientSecret)
  return {
    ...{ credential: null, secret_hash: credential.hash },
    ...{ secret_mac: mac, secret_mac_key_id: keyId, secret_digest: digest }
  }
}
