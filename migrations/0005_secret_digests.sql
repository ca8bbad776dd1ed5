-- The digest of a secret finds its registration, when all that somebody has is the secret: a report of a leak. The MAC
-- cannot do that, because it is bound to the client id.
alter table registrations
  add column secret_digest bytea,
  add column previous_secret_digest bytea,
  add constraint registrations_secret_digest_length check (length(secret_digest) = 16) not valid,
  add constraint registrations_previous_secret_digest_length check (length(previous_secret_digest) = 16) not valid;

comment on column registrations.secret_digest is 'first 16 bytes of HMAC-SHA-256 of the secret, under a key derived from that of its MAC; null until the next exchange for a secret of release 0.2.0, and for a credential of another kind';
comment on column registrations.previous_secret_digest is 'the same for the secret before the latest rotation';

-- Moves the digest of a secret with its hash, and forgets the one of a secret that has gone. Release 0.2.0 does not know
-- the two columns, so it moves the hash only.
create function move_secret_digest() returns trigger
  language plpgsql as $$
begin
  if new.previous_secret_hash is distinct from old.previous_secret_hash then
    new.previous_secret_digest := case when new.previous_secret_hash = old.secret_hash then old.secret_digest end;
  end if;
  if new.secret_hash is distinct from old.secret_hash and new.secret_digest is not distinct from old.secret_digest then
    new.secret_digest := null;
  end if;
  return new;
end
$$;
create trigger move_secret_digest before update on registrations for each row when (
  new.secret_hash is distinct from old.secret_hash or new.previous_secret_hash is distinct from old.previous_secret_hash
) execute function move_secret_digest();
