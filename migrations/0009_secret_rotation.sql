-- A rotation keeps the secret before it for a while.
alter table registrations
  add column secret_number integer not null default 1,
  add column secret_created_at timestamptz(3),
  add column secret_checksum text,
  add column previous_secret_hash text,
  add column previous_secret_created_at timestamptz(3),
  add column previous_secret_expires_at timestamptz(3),
  add constraint registrations_previous_secret_hash_format check (previous_secret_hash like '$argon2id$%');

comment on column registrations.secret_number is 'counts rotations, from 1';
comment on column registrations.secret_created_at is 'null: with the registration';
comment on column registrations.secret_checksum is 'the last six characters of the secret, a CRC-32 of the rest: which of two hashes to compare with; null before the first rotation';
comment on column registrations.previous_secret_hash is 'of the secret before the latest rotation, Argon2id in PHC form; kept when retired, so that its use is noticed';
comment on column registrations.previous_secret_expires_at is 'the instant from which the previous secret is refused';

alter table registration_last_used
  add column odd_secret_used_at timestamptz(3),
  add column even_secret_used_at timestamptz(3);

comment on column registration_last_used.odd_secret_used_at is 'latest exchange with a secret of an odd number; older than the secret: of one before it';
comment on column registration_last_used.even_secret_used_at is 'the same for even numbers';
