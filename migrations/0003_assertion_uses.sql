-- The assertions that clients with a public key have used (RFC 7523 §3), so that each is accepted once.

-- One row for each registration that has used an assertion, whatever the number of assertions. It is bounded: an entry is
-- dropped soon after its assertion has ended, and at most 1,024 are kept. Each use updates the row, and no index holds a
-- column that changes, so that Postgres updates a short row in place (heap-only tuples).
create table assertion_uses (
  client_id     text               constraint assertion_uses_pkey primary key
                                   constraint assertion_uses_client_id_fkey references registrations on delete cascade,
  digests       bigint[]           not null,
  ends          timestamptz(3)[]   not null,
  added         integer            not null,
  dropped_until timestamptz(3)     not null,
  constraint assertion_uses_length check (cardinality(digests) <= 1024 and cardinality(ends) = cardinality(digests)),
  constraint assertion_uses_added check (added between 0 and cardinality(digests))
) with (fillfactor = 50);

comment on table assertion_uses is 'assertions that clients have used and that have not ended';
comment on column assertion_uses.digests is '8 bytes of the SHA-256 of client id, a zero byte and jti; the newest last';
comment on column assertion_uses.ends is 'when the assertion of the digest at the same place ends';
comment on column assertion_uses.added is 'how many digests the latest statement has added, for the answer of that statement';
comment on column assertion_uses.dropped_until is 'digests of assertions that ended by then may have been dropped; such an assertion is refused, whatever the clocks of the instances show';

-- Only the token endpoint reads and writes it, for clients of all Sites.
create policy assertion_uses_of_all_sites on assertion_uses
  using ((select current_setting('grantd.site_id', true)) = '*');
alter table assertion_uses enable row level security, force row level security;
