/** The JSON of credentials: as a caller gives them, and as an answer shows them. */

import { type TSchema, Type } from 'typebox'
import { CREDENTIAL_KINDS, type CredentialKind } from '../credentials/credential.ts'
import { SUBJECT_MAX_LENGTH } from '../credentials/federated-subject.ts'
import { KEY_ALGORITHMS } from '../credentials/public-key.ts'
import { nullable, textEnum } from '../http/json-schema.ts'

/** A JWK may have members that grantd does not know (RFC 7517 §4). */
export const PublicKeySchema = Type.Object(
  {
    kty: textEnum(['EC', 'OKP', 'RSA'], { description: 'Type of the key', examples: ['EC'] }),
    crv: Type.Optional(
      Type.String({ description: 'Curve: P-256 or P-384 of EC, Ed25519 of OKP', examples: ['P-256'] })
    ),
    x: Type.Optional(base64url('Coordinate of EC, or the key of OKP')),
    y: Type.Optional(base64url('Coordinate of EC')),
    n: Type.Optional(base64url('Modulus of RSA, of 2048 to 4096 bits')),
    e: Type.Optional(base64url('Exponent of RSA')),
    alg: Type.Optional(
      Type.String({
        description:
          'Algorithm of the signatures: ES256 of P-256, ES384 of P-384, EdDSA of Ed25519, and PS256 of RSA. Only RSA has a second one, RS256.',
        examples: ['ES256']
      })
    ),
    use: Type.Optional(Type.String({ description: 'Use of the key: sig', examples: ['sig'] }))
  },
  {
    $id: 'PublicKey',
    additionalProperties: true,
    description:
      'A public key as a JWK (RFC 7517) of at most 4 KiB. Other members of a JWK, such as `kid`, are allowed and not kept. A private key is refused.'
  }
)

export const FederatedSubjectSchema = Type.Object(
  {
    issuer: Type.String({
      minLength: 1,
      maxLength: 512,
      description: 'Issuer of the tokens, exactly as in their claim `iss`. The whole service must trust it.',
      examples: ['https://token.actions.githubusercontent.com']
    }),
    subject: Type.String({
      minLength: 1,
      maxLength: SUBJECT_MAX_LENGTH,
      description: 'Subject of the tokens, exactly as in their claim `sub`',
      examples: ['repo:acme/device-sync:ref:refs/heads/main']
    })
  },
  {
    $id: 'FederatedSubject',
    additionalProperties: false,
    description: 'A workload that a trusted issuer vouches for'
  }
)

function base64url(description: string) {
  return Type.String({ description: `${description}, in base64url (RFC 7518 §6)` })
}

/** Members of a body that give a new credential. Neither is there for a Client secret, which grantd makes. */
export interface CredentialInput {
  publicKey?: Type.Static<typeof PublicKeySchema> | undefined
  federated?: Type.Static<typeof FederatedSubjectSchema> | undefined
}

/** The schemas of these members. */
export const credentialInput = {
  publicKey: Type.Optional(Type.Ref('PublicKey')),
  federated: Type.Optional(Type.Ref('FederatedSubject'))
}

const times = {
  createdAt: Type.String({
    format: 'date-time',
    description: 'Instant at which the registration got the credential',
    examples: ['2026-11-23T09:00:00.000Z']
  }),
  lastUsedAt: nullable(
    Type.String({
      format: 'date-time',
      description: 'Instant of the latest exchange with this credential. It is null before the first one.',
      examples: ['2026-11-23T09:05:12.345Z']
    })
  )
}

const expiry = {
  expiresAt: Type.String({
    format: 'date-time',
    description: 'Instant from which the credential is refused',
    examples: ['2026-11-24T09:00:00.000Z']
  })
}

const { issuer, subject } = FederatedSubjectSchema.properties

const secret = { ...kindOf('secret'), ...times }
const key = {
  ...kindOf('key'),
  keyId: Type.String({
    description: 'JWK thumbprint of the public key (RFC 7638)',
    examples: ['NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs']
  }),
  alg: textEnum(KEY_ALGORITHMS, { description: 'Algorithm of the signatures of the key', examples: ['ES256'] }),
  ...times
}
const federated = { ...kindOf('federated'), issuer, subject, ...times }

function kindOf<const Kind extends CredentialKind>(kind: Kind) {
  return { kind: textEnum([kind], { description: 'Kind of the credential', examples: [kind] }) }
}

const closed = { additionalProperties: false }
const SecretCredential = Type.Object(secret, { $id: 'SecretCredential', ...closed, description: 'A Client secret' })
const KeyCredential = Type.Object(key, { $id: 'KeyCredential', ...closed, description: 'A public key' })
const FederatedCredential = Type.Object(federated, {
  ...{ $id: 'FederatedCredential', ...closed, description: 'A workload that a trusted issuer vouches for' }
})
const PreviousSecretCredential = nullable(
  Type.Object(
    { ...secret, ...expiry },
    { $id: 'PreviousSecretCredential', ...closed, description: 'A previous Client secret' }
  )
)
const PreviousKeyCredential = nullable(
  Type.Object({ ...key, ...expiry }, { $id: 'PreviousKeyCredential', ...closed, description: 'A previous public key' })
)
const PreviousFederatedCredential = nullable(
  Type.Object(
    { ...federated, ...expiry },
    { $id: 'PreviousFederatedCredential', ...closed, description: 'A previous workload' }
  )
)

export const CREDENTIAL_SCHEMAS: readonly TSchema[] = [
  ...[PublicKeySchema, FederatedSubjectSchema, SecretCredential, KeyCredential, FederatedCredential],
  ...[PreviousSecretCredential, PreviousKeyCredential, PreviousFederatedCredential]
]

export type CredentialBody = Type.Static<typeof SecretCredential | typeof KeyCredential | typeof FederatedCredential>
export type PreviousCredentialBody = Type.Static<
  typeof PreviousSecretCredential | typeof PreviousKeyCredential | typeof PreviousFederatedCredential
>

export const credential = Type.Unsafe<CredentialBody>({
  oneOf: ['SecretCredential', 'KeyCredential', 'FederatedCredential'].map(reference),
  ...discriminator(''),
  description: 'The current credential'
})

/** Each variant is nullable, and so their union is. OpenAPI 3.0 has no other form of "one of these, or null". */
export const previousCredential = Type.Unsafe<PreviousCredentialBody>({
  anyOf: ['PreviousSecretCredential', 'PreviousKeyCredential', 'PreviousFederatedCredential'].map(reference),
  ...discriminator('Previous'),
  description:
    'The credential before the latest rotation, as long as it is accepted beside the current one. Otherwise it is null.'
})

function reference(name: string) {
  return { $ref: name }
}

/** Returns how generated clients tell the variants from each other. */
function discriminator(prefix: string) {
  const nameOf = (kind: string) => `${prefix}${kind.charAt(0).toUpperCase()}${kind.slice(1)}Credential`
  const mapping = CREDENTIAL_KINDS.map(kind => [kind, `#/components/schemas/${nameOf(kind)}`])
  return { discriminator: { propertyName: 'kind', mapping: Object.fromEntries(mapping) } }
}
