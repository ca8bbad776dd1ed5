-- Each key has its time, decided once, when it is made. What an instance does with it is in src/signing-keys/rotation.ts.
-- The defaults are for instances of the release before, which know of no rotation. For the same reason the time of
-- keys that exist begins now, so that none is due while such instances still run.
alter table signing_keys
  add column generation  integer        constraint signing_keys_generation_key unique,
  add column signs_from  timestamptz(3) not null default now(),
  add column signs_until timestamptz(3) not null default now() + interval '91 days',
  add constraint signing_keys_time check (signs_from < signs_until);

update signing_keys set generation = numbered.generation
  from (select kid, row_number() over (order by created_at, kid) as generation from signing_keys) as numbered
  where numbered.kid = signing_keys.kid;

comment on column signing_keys.generation is
  'counts keys of all algorithms; unique, so that of instances that make the next key at once one succeeds';
comment on column signing_keys.signs_from is
  'no instance signs with it before, unless it is the first of all or made in place of a compromised one';
comment on column signing_keys.signs_until is
  'an instance that has a newer key signs with that from then on at the latest';

-- Retired private keys are destroyed, and by this alone: the serving role may not delete keys, and neither a fault of
-- an instance nor its clock can make this remove one that a living token needs. Retired is a key once a newer one has
-- signed for three hours: the longest that an instance can have gone on without the database (1 h), the longest life
-- of a token (1 h), clocks that differ, and some to spare. A newer one of another algorithm counts once the key's own
-- time is as long over.
create function destroy_retired_signing_keys(at timestamptz) returns setof text
  language sql
  security definer
  set search_path = pg_catalog, public, pg_temp
as $$
  delete from public.signing_keys as old
    where exists (
      select from public.signing_keys as newer
        where (newer.signs_from, newer.kid collate "C") > (old.signs_from, old.kid collate "C")
          and newer.signs_from <= least(at, now()) - interval '3 hours'
          and (newer.algorithm = old.algorithm or old.signs_until <= least(at, now()) - interval '3 hours')
    )
    returning kid
$$;
revoke execute on function destroy_retired_signing_keys(timestamptz) from public;
