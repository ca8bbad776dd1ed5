-- Audiences of a registration, and credentials that are not secrets: public keys and federated subjects.

-- Postgres rewrites no row for these changes. Constraints are NOT VALID here and validated by a later migration, so that
-- no statement on the table waits while its rows are read.
alter table registrations
  add column audiences text[] not null default '{}',
  add column credential jsonb,
  add column previous_credential jsonb,
  alter column secret_hash drop not null,
  alter column secret_mac drop not null,
  alter column secret_mac_key_id drop not null,
  drop constraint registrations_previous_secret_complete,
  add constraint registrations_credential_complete check (
    num_nulls(secret_hash, secret_mac, secret_mac_key_id) in (0, 3) and num_nonnulls(secret_hash, credential) = 1
  ) not valid,
  add constraint registrations_previous_credential_complete check (
    num_nulls(previous_secret_hash, previous_secret_mac, previous_secret_mac_key_id) in (0, 3)
    and num_nonnulls(previous_secret_hash, previous_credential) = num_nonnulls(previous_secret_created_at)
    and num_nonnulls(previous_secret_created_at) = num_nonnulls(previous_secret_expires_at)
  ) not valid,
  add constraint registrations_credential_kind check (
    credential is null or coalesce(credential ->> 'kind', '') in ('key', 'federated')
  ) not valid,
  add constraint registrations_previous_credential_kind check (
    previous_credential is null or coalesce(previous_credential ->> 'kind', '') in ('key', 'federated')
  ) not valid;

comment on column registrations.audiences is 'audiences that the client may ask for, the default one first; empty for ACCESS_TOKEN_AUDIENCE';
comment on column registrations.credential is 'the current credential when it is a public key or a federated subject; null when it is a secret';
comment on column registrations.previous_credential is 'the same for the credential before the latest rotation; kept after it was retired, so that its use is noticed';
comment on column registrations.secret_created_at is 'when the current credential was created, whatever its kind';
comment on column registrations.previous_secret_created_at is 'when the previous credential was created, whatever its kind';
comment on column registrations.previous_secret_expires_at is 'the instant from which the previous credential is refused, whatever its kind';

-- A secret that takes the place of a credential of another kind. Release 0.2.0 does not know the two columns: it sets the
-- columns of the secret and leaves these as they are.
create function replace_credential_by_secret() returns trigger
  language plpgsql as $$
begin
  if new.credential_number > old.credential_number then
    new.previous_credential := old.credential;
  end if;
  new.credential := null;
  return new;
end
$$;
create trigger replace_credential_by_secret before update on registrations for each row when (
  new.secret_hash is not null and new.secret_hash is distinct from old.secret_hash
) execute function replace_credential_by_secret();
