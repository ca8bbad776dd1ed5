-- What a create with an Idempotency-Key made, for retries of it, for some minutes.
create table idempotent_creates (
  key_digest bytea          constraint idempotent_creates_pkey primary key,
  sealed     bytea          not null,
  expires_at timestamptz(3) not null,
  constraint idempotent_creates_key_digest_length check (length(key_digest) = 32)
);

create index idempotent_creates_expires_at on idempotent_creates (expires_at);

comment on column idempotent_creates.key_digest is 'of Site, caller and Idempotency-Key, which itself is kept nowhere; keyed with KEY_ENCRYPTION_KEY';
comment on column idempotent_creates.sealed is 'AES-256-GCM under a key that only the Idempotency-Key yields; holds the Client secret';
