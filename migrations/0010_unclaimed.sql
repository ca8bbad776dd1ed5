-- A registration without a secret that somebody knows: its secret is to be claimed, or has leaked. Its row has a hash and
-- a MAC of nothing, so that the token endpoint does the same work for it as for any other.
alter table registrations add column unclaimed boolean not null default false;

comment on column registrations.unclaimed is 'whether nobody has the current secret yet; its hash and MAC are random bytes';

-- A new credential is one that somebody has, unless the statement says otherwise. Release 0.2.0 does not know the column.
create function note_claimed_credential() returns trigger
  language plpgsql as $$
begin
  new.unclaimed := false;
  return new;
end
$$;
create trigger note_claimed_credential before update on registrations for each row when (
  old.unclaimed and new.unclaimed
  and (new.secret_hash is distinct from old.secret_hash or new.credential is distinct from old.credential)
) execute function note_claimed_credential();
