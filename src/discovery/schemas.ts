import { Type } from 'typebox'

const list = (description: string) => Type.Array(Type.String(), { description })

const metadata = {
  issuer: Type.String({ description: '`iss` of access tokens' }),
  authorization_endpoint: Type.Optional(
    Type.String({
      description:
        'Only with PUBLISH_AUTHORIZATION_ENDPOINT, for clients that reject metadata without this member. The endpoint answers every request with 400 `unsupported_response_type`'
    })
  ),
  token_endpoint: Type.String({ description: 'URL of the token endpoint' }),
  jwks_uri: Type.String({ description: 'URL of the public keys that verify access tokens' }),
  scopes_supported: Type.Optional(list('Scopes that a registration can be given. Absent when grantd has no catalogue')),
  response_types_supported: list('Always empty, because grantd supports no response type'),
  grant_types_supported: list('Grant types that the token endpoint supports'),
  token_endpoint_auth_methods_supported: list('How a client can authenticate at the token endpoint'),
  token_endpoint_auth_signing_alg_values_supported: list('Algorithms of the assertions of `private_key_jwt`'),
  revocation_endpoint: Type.String({ description: 'URL of the revocation endpoint (RFC 7009)' }),
  revocation_endpoint_auth_methods_supported: list('How a client can authenticate at the revocation endpoint'),
  revocation_endpoint_auth_signing_alg_values_supported: list('Algorithms of the assertions of `private_key_jwt`'),
  introspection_endpoint: Type.String({ description: 'URL of the introspection endpoint (RFC 7662)' }),
  introspection_endpoint_auth_methods_supported: list('How a caller can authenticate at the introspection endpoint'),
  introspection_endpoint_auth_signing_alg_values_supported: list('Algorithms of the assertions of `private_key_jwt`'),
  dpop_signing_alg_values_supported: list('Algorithms of DPoP proofs (RFC 9449 §5.1)'),
  service_documentation: Type.String({ description: 'URL of the API reference' })
}

export const MetadataSchema = Type.Object(metadata, {
  $id: 'Metadata',
  additionalProperties: false,
  description: 'Authorization server metadata (RFC 8414)'
})

export const OpenIdMetadataSchema = Type.Object(
  {
    ...metadata,
    subject_types_supported: list('Always `public`: `sub` is the Client ID, for every resource server'),
    id_token_signing_alg_values_supported: list(
      'Algorithms of the keys in the JWKS. They sign access tokens, because grantd issues no ID tokens'
    )
  },
  {
    $id: 'OpenIdMetadata',
    additionalProperties: false,
    description: 'Authorization server metadata, with the two members that OpenID Connect libraries require'
  }
)

export type MetadataBody = Type.Static<typeof MetadataSchema>
