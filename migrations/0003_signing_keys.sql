create table signing_keys (
  kid         text           constraint signing_keys_pkey primary key,
  algorithm   text           not null,
  public_jwk  jsonb          not null,
  private_jwe text           not null,
  created_at  timestamptz(3) not null,
  constraint signing_keys_algorithm check (algorithm in ('ES256', 'RS256', 'EdDSA'))
);

comment on column signing_keys.private_jwe is 'the private JWK sealed under KEY_ENCRYPTION_KEY (JWE, dir, A256GCM)';
