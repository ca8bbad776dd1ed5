-- The schema of grantd. Instants have millisecond precision, as in JavaScript.
--
-- No statement names a schema. The migrator sets the search path to the one schema that holds grantd, and each function
-- keeps the search path that was current when it was created.

-- ---------------------------------------------------------------------------------------------------------------------
-- App registrations
-- ---------------------------------------------------------------------------------------------------------------------

-- A registration is what a Site administrator manages and what the token endpoint reads. It has a current credential and,
-- after a rotation, a previous one. Columns that start with "secret_" and "previous_secret_" describe credentials that
-- are secrets.
create table registrations (
  client_id                  text                    constraint registrations_pkey primary key,
  site_id                    text           not null,
  name                       text           not null,
  name_folded                text           collate "C" not null,
  scopes                     text[]         not null,
  enabled                    boolean        not null,
  registered_at              timestamptz(3) not null,
  expires_at                 timestamptz(3) not null,
  expiry_set_at              timestamptz(3) not null,
  version                    integer        not null default 1,
  credential_number          integer        not null default 1,
  secret_hash                text           not null,
  secret_mac                 bytea          not null,
  secret_mac_key_id          text           not null,
  secret_created_at          timestamptz(3) not null,
  previous_secret_hash       text,
  previous_secret_mac        bytea,
  previous_secret_mac_key_id text,
  previous_secret_created_at timestamptz(3),
  previous_secret_expires_at timestamptz(3),
  constraint registrations_client_id_format check (client_id ~ '^[a-z0-9]{20}$'),
  constraint registrations_site_id_format check (site_id ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$'),
  constraint registrations_secret_hash_format check (secret_hash like '$argon2id$%'),
  constraint registrations_previous_secret_hash_format check (previous_secret_hash like '$argon2id$%'),
  constraint registrations_secret_mac_length check (length(secret_mac) = 32),
  constraint registrations_previous_secret_mac_length check (length(previous_secret_mac) = 32),
  constraint registrations_previous_secret_complete check (
    num_nulls(previous_secret_hash, previous_secret_mac, previous_secret_mac_key_id, previous_secret_created_at,
      previous_secret_expires_at) in (0, 5)
  )
);

comment on table registrations is 'App registrations: one row for each client';
comment on column registrations.site_id is 'opaque id of the Site, given by the admin UI';
comment on column registrations.name_folded is 'the name without case and accents, for sorting and searching';
comment on column registrations.expires_at is 'the instant from which the credentials are refused';
comment on column registrations.expiry_set_at is 'when expires_at got its present value; notice steps that were already past then do not fire';
comment on column registrations.version is 'counts administrative changes; the ETag is made of it';
comment on column registrations.credential_number is 'number of the current credential; counts rotations from 1';
comment on column registrations.secret_hash is 'Argon2id in PHC string format; the secret itself is stored nowhere';
comment on column registrations.secret_mac is 'HMAC-SHA-256 of client id, a zero byte and the secret, by which the token endpoint verifies the secret';
comment on column registrations.secret_mac_key_id is 'id in mac_keys; when no instance can decrypt that key any more, the next exchange verifies the hash and replaces the MAC';
comment on column registrations.previous_secret_hash is 'hash of the secret before the latest rotation; kept after it was retired, so that its use is noticed';
comment on column registrations.previous_secret_expires_at is 'the instant from which the previous secret is refused';

-- The hash and the MAC of a secret change together, so that neither of them ever accepts a secret that the other does not.
-- The only other change is a MAC of the same secret under another key.
create function refuse_hash_without_mac() returns trigger
  language plpgsql as $$
begin
  raise exception 'the hash and the MAC of a secret change together' using errcode = 'check_violation';
end
$$;
create trigger refuse_hash_without_mac before update on registrations for each row when (
  (new.secret_mac is distinct from old.secret_mac) is distinct from
    (new.secret_hash is distinct from old.secret_hash or new.secret_mac_key_id is distinct from old.secret_mac_key_id)
  or (new.previous_secret_mac is distinct from old.previous_secret_mac) is distinct from
    (new.previous_secret_hash is distinct from old.previous_secret_hash
      or new.previous_secret_mac_key_id is distinct from old.previous_secret_mac_key_id)
) execute function refuse_hash_without_mac();

-- Listings of one Site, whose rows the quota bounds: in the default order, by expiry, and the count for the quota.
create index registrations_site_id_name_folded on registrations (site_id, name_folded, client_id);
create index registrations_site_id_expires_at on registrations (site_id, expires_at, client_id);
-- Listings over all Sites. The first one also serves the search, which reads nothing but this index. A trigram index
-- would not help: under row-level security, Postgres uses no index for an operator that is not leakproof.
create index registrations_name_folded on registrations (name_folded, client_id) include (site_id);
create index registrations_registered_at on registrations (registered_at, client_id);
create index registrations_expires_at on registrations (expires_at, client_id);
create index registrations_enabled on registrations (enabled, client_id);

-- A table of its own, because each exchange updates a row of it. The row is narrow, and no index holds a column that each
-- exchange changes, so that Postgres updates it in place (heap-only tuples). The minute of the latest use is in an index:
-- listings by Last used read it in the order of the minute, and sort within the minute. A client's first exchange in a
-- minute costs about 15 µs more for it. The hour would change less often, but a hundred thousand uses in an hour are
-- normal, and would be sorted for each page.
create table registration_last_used (
  client_id               text           constraint registration_last_used_pkey primary key
                                         constraint registration_last_used_client_id_fkey references registrations on delete cascade,
  last_used_at            timestamptz(3),
  odd_credential_used_at  timestamptz(3),
  even_credential_used_at timestamptz(3),
  last_used_minute        timestamptz(0) not null generated always as (
    coalesce(date_bin('1 minute', last_used_at, timestamptz '2000-01-01 00:00:00Z'), '-infinity')
  ) stored
) with (fillfactor = 50);

comment on table registration_last_used is 'Last used of each registration';
comment on column registration_last_used.last_used_at is 'instant of the latest successful exchange; null for none; only moves forward';
comment on column registration_last_used.odd_credential_used_at is 'latest exchange with a credential whose number is odd; when older than the current credential, it belongs to an earlier one';
comment on column registration_last_used.even_credential_used_at is 'the same for credentials whose number is even';
comment on column registration_last_used.last_used_minute is 'start of the minute of last_used_at; -infinity for never';

create index registration_last_used_last_used_minute on registration_last_used (last_used_minute, client_id);

-- Each registration has a row from the beginning, so that listings by Last used find those that were never used. Only a
-- session that sees all Sites may write this table, so the function becomes one for the time of its statement.
create function create_last_used() returns trigger
  language plpgsql security definer set search_path from current as $$
declare
  sites constant text := coalesce(current_setting('grantd.site_id', true), '');
begin
  perform set_config('grantd.site_id', '*', true);
  insert into registration_last_used (client_id) select client_id from created;
  perform set_config('grantd.site_id', sites, true);
  return null;
end
$$;
create trigger create_last_used after insert on registrations referencing new table as created
  for each statement execute function create_last_used();

-- Answers to requests with an Idempotency-Key, for retries within ten minutes.
create table idempotent_answers (
  key_digest bytea                   constraint idempotent_answers_pkey primary key,
  sealed     bytea          not null,
  expires_at timestamptz(3) not null,
  constraint idempotent_answers_key_digest_length check (length(key_digest) = 32)
);

comment on column idempotent_answers.key_digest is 'keyed digest of Site, caller and Idempotency-Key; the key is derived from KEY_ENCRYPTION_KEY';
comment on column idempotent_answers.sealed is 'the answer with its secret, AES-256-GCM under a key that only the Idempotency-Key yields';

create index idempotent_answers_expires_at on idempotent_answers (expires_at);

-- Keys of the MACs in registrations. The first start makes one. Another one is made only when no instance can decrypt any.
create table mac_keys (
  key_id        text                    constraint mac_keys_pkey primary key,
  encrypted_key text           not null,
  created_at    timestamptz(3) not null default now()
);

comment on table mac_keys is 'keys of the MACs of secrets, for all Sites';
comment on column mac_keys.encrypted_key is '32 random bytes, encrypted under KEY_ENCRYPTION_KEY (JWE, dir, A256GCM)';

-- ---------------------------------------------------------------------------------------------------------------------
-- Signing keys
-- ---------------------------------------------------------------------------------------------------------------------

-- The times of a key are decided once, when it is made. src/signing-keys/rotation.ts says how an instance uses them.
create table signing_keys (
  kid         text           constraint signing_keys_pkey primary key,
  algorithm   text           not null,
  public_jwk  jsonb          not null,
  private_jwe text           not null,
  proof_hash  bytea          not null,
  created_at  timestamptz(3) not null,
  generation  integer        not null constraint signing_keys_generation_key unique,
  signs_from  timestamptz(3) not null,
  signs_until timestamptz(3) not null,
  constraint signing_keys_kid_format check (kid ~ '^[A-Za-z0-9_-]{43}$'),
  constraint signing_keys_algorithm check (algorithm in ('ES256', 'RS256', 'EdDSA')),
  constraint signing_keys_private_jwe_format check (private_jwe ~ '^[A-Za-z0-9_-]+\.\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$'),
  constraint signing_keys_proof_hash_length check (length(proof_hash) = 32),
  constraint signing_keys_time check (signs_from < signs_until)
);

comment on table signing_keys is 'keys that sign access tokens, for all Sites';
comment on column signing_keys.kid is 'JWK thumbprint (RFC 7638)';
comment on column signing_keys.private_jwe is 'the private JWK, encrypted under KEY_ENCRYPTION_KEY (JWE, dir, A256GCM)';
comment on column signing_keys.proof_hash is 'SHA-256 of a proof that only the KEY_ENCRYPTION_KEY of private_jwe yields; it must come with the next key, and with a change of this one';
comment on column signing_keys.generation is 'counts keys of all algorithms';
comment on column signing_keys.signs_from is 'no instance signs with the key before, except with the first key and with one that replaces a compromised one';
comment on column signing_keys.signs_until is 'from then on, an instance that has a newer key signs with that';

-- The serving role may neither insert, update nor delete keys. It does so by three functions only. The first two demand a
-- proof that its caller has KEY_ENCRYPTION_KEY. So a stolen login of the database can add no key that would take the
-- place of a real one, and can overwrite none.

-- Adds the next key. Returns false when another instance has added one meanwhile, or when the decision is too old: a
-- process may have been stopped, or a statement held up in the network, and the key would not be published long enough.
create function add_signing_key(
  kid text, algorithm text, public_jwk jsonb, private_jwe text, proof_hash bytea, created_at timestamptz,
  generation integer, signs_from timestamptz, signs_until timestamptz, proof bytea, decided_at timestamptz
) returns boolean
  language plpgsql security definer set search_path from current as $$
#variable_conflict use_column
declare
  latest signing_keys;
begin
  -- One instance after the other. Reading goes on.
  lock table signing_keys in share row exclusive mode;
  select * into latest from signing_keys order by generation desc limit 1;
  if add_signing_key.generation <> coalesce(latest.generation, 0) + 1
    or clock_timestamp() >= add_signing_key.decided_at + interval '60 seconds' then
    return false;
  end if;
  if latest.kid is not null and sha256(add_signing_key.proof) is distinct from latest.proof_hash then
    raise exception 'the latest signing key was made with another KEY_ENCRYPTION_KEY' using errcode = 'insufficient_privilege';
  end if;
  insert into signing_keys (kid, algorithm, public_jwk, private_jwe, proof_hash, created_at, generation, signs_from, signs_until)
    values (add_signing_key.kid, add_signing_key.algorithm, add_signing_key.public_jwk, add_signing_key.private_jwe,
      add_signing_key.proof_hash, add_signing_key.created_at, add_signing_key.generation, add_signing_key.signs_from,
      add_signing_key.signs_until);
  return true;
end
$$;

-- Replaces the encryption of a key, when KEY_ENCRYPTION_KEY changes. Returns whether it was done: it is not when another
-- instance was first, or when the proof is not that of the key.
create function reencrypt_signing_key(kid text, private_jwe text, proof_hash bytea, proof bytea) returns boolean
  language plpgsql security definer set search_path from current as $$
begin
  update signing_keys as key set private_jwe = $2, proof_hash = $3 where key.kid = $1 and key.proof_hash = sha256($4);
  return found;
end
$$;

-- Destroys private keys that no living token needs, by the clock of the database, so that neither a fault of an instance
-- nor its clock can destroy a key too early. A key is retired when a newer one has been signing for three hours: the
-- longest time that an instance signs without the database (1 h), the longest life of a token (1 h), and a margin for
-- clocks. A newer key of another algorithm counts when the key's own time has been over for as long.
create function destroy_retired_signing_keys(at timestamptz) returns setof text
  language sql security definer set search_path from current
as $$
  delete from signing_keys as old
    where exists (
      select from signing_keys as newer
        where (newer.signs_from, newer.kid collate "C") > (old.signs_from, old.kid collate "C")
          and newer.signs_from <= least(at, now()) - interval '3 hours'
          and (newer.algorithm = old.algorithm or old.signs_until <= least(at, now()) - interval '3 hours')
    )
    returning kid
$$;

revoke execute on function
  add_signing_key(text, text, jsonb, text, bytea, timestamptz, integer, timestamptz, timestamptz, bytea, timestamptz),
  reencrypt_signing_key(text, text, bytea, bytea),
  destroy_retired_signing_keys(timestamptz)
  from public;

-- ---------------------------------------------------------------------------------------------------------------------
-- Audit
-- ---------------------------------------------------------------------------------------------------------------------

-- Changes that administrators made. The events of a Site form a chain: each holds the hash of the event before it.
create table audit_events (
  site_id       text           not null,
  sequence      integer        not null,
  occurred_at   timestamptz(3) not null,
  action        text           not null,
  subject       text           not null,
  actor         text           not null,
  actor_issuer  text           not null,
  request_id    text           not null,
  source        text           not null,
  changes       jsonb          not null,
  previous_hash bytea          not null,
  hash          bytea          not null,
  constraint audit_events_pkey primary key (site_id, sequence),
  constraint audit_events_site_id_format check (site_id ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$'),
  constraint audit_events_action_format check (action ~ '^[a-z_]+(\.[a-z_]+)+$'),
  constraint audit_events_hash_length check (length(hash) = 32 and length(previous_hash) = 32)
);

comment on table audit_events is 'changes by administrators; append-only';
comment on column audit_events.sequence is 'counts the events of the Site from 1, without a gap';
comment on column audit_events.subject is 'client id of the registration, or id of another resource';
comment on column audit_events.actor is '"sub" of the administrator''s token';
comment on column audit_events.changes is 'value of each changed field before and after; never a secret or a hash of one';
comment on column audit_events.previous_hash is '"hash" of the event before in this Site; 32 zero bytes in the first event';
comment on column audit_events.hash is 'SHA-256 over this event and previous_hash, as src/audit/chain.ts defines it';

-- Listings of one Site, newest event first.
create index audit_events_site_id_occurred_at on audit_events (site_id, occurred_at, sequence);
create index audit_events_site_id_actor on audit_events (site_id, actor, occurred_at, sequence);
create index audit_events_site_id_action on audit_events (site_id, action, occurred_at, sequence);
-- Listings over all Sites.
create index audit_events_occurred_at on audit_events (occurred_at, site_id, sequence);
create index audit_events_actor on audit_events (actor, occurred_at, site_id, sequence);
create index audit_events_action on audit_events (action, occurred_at, site_id, sequence);
-- A subject belongs to one Site, so that one index serves both.
create index audit_events_subject on audit_events (subject, occurred_at, site_id, sequence);

-- Both ends of each chain, so that events that are missing at either end are noticed.
create table audit_chains (
  site_id         text             constraint audit_chains_pkey primary key,
  sequence        integer not null,
  hash            bytea   not null,
  pruned_sequence integer not null default 0,
  pruned_hash     bytea   not null default decode(repeat('00', 32), 'hex'),
  constraint audit_chains_order check (0 <= pruned_sequence and pruned_sequence <= sequence)
);

comment on table audit_chains is 'the newest and the last deleted event of each Site';
comment on column audit_chains.sequence is 'sequence of the newest event';
comment on column audit_chains.pruned_sequence is 'sequence of the newest event that retention has deleted; 0 for none';

-- Moves the end of the chain with a new event. It runs as the owner, so that no other role needs the right to.
create function continue_audit_chain() returns trigger
  language plpgsql security definer set search_path from current as $$
begin
  if new.sequence = 1 then
    insert into audit_chains (site_id, sequence, hash) values (new.site_id, 1, new.hash);
  else
    update audit_chains set sequence = new.sequence, hash = new.hash
      where site_id = new.site_id and sequence = new.sequence - 1 and hash = new.previous_hash;
    if not found then
      raise exception 'audit event % of Site % does not continue its chain', new.sequence, new.site_id;
    end if;
  end if;
  return new;
end
$$;

create function refuse_audit_change() returns trigger
  language plpgsql as $$
begin
  raise exception '% is append-only', tg_table_name using errcode = 'insufficient_privilege';
end
$$;

-- Retention moves the beginning of a chain first. Only events before it can be deleted.
create function delete_pruned_audit_event() returns trigger
  language plpgsql set search_path from current as $$
begin
  if not exists (select from audit_chains where site_id = old.site_id and old.sequence <= pruned_sequence) then
    raise exception 'audit_events is append-only' using errcode = 'insufficient_privilege';
  end if;
  return old;
end
$$;

-- The end of a chain moves from within continue_audit_chain only. The beginning moves forward to an event that exists.
create function move_audit_chain() returns trigger
  language plpgsql set search_path from current as $$
begin
  if new.site_id = old.site_id then
    if (new.pruned_sequence, new.pruned_hash) = (old.pruned_sequence, old.pruned_hash) and pg_trigger_depth() > 1 then
      return new;
    end if;
    if (new.sequence, new.hash) = (old.sequence, old.hash) and new.pruned_sequence > old.pruned_sequence and exists (
      select from audit_events
        where site_id = new.site_id and sequence = new.pruned_sequence and hash = new.pruned_hash
    ) then
      return new;
    end if;
  end if;
  raise exception 'audit_chains moves with its events only' using errcode = 'insufficient_privilege';
end
$$;

-- Retention. Deletes the oldest events of one Site that are older than so many days, and returns how many. It runs as the
-- owner, so that the serving role deletes old events in this way only. Events of the last 30 days stay, whatever it asks
-- for, and the clock of an instance has no part in it. An old event after a younger one stays, so that there is no gap.
create function prune_audit_events(retention_days integer, batch integer) returns integer
  language plpgsql security definer set search_path from current as $$
declare
  cutoff constant timestamptz := now() - make_interval(days => greatest(retention_days, 30));
  site text;
  last audit_events%rowtype;
  deleted integer;
begin
  select c.site_id into site
    from audit_chains c join audit_events e on e.site_id = c.site_id and e.sequence = c.pruned_sequence + 1
    where e.occurred_at < cutoff
    limit 1;
  if not found then
    return 0;
  end if;
  -- Writers of this chain wait, and so does another instance that prunes. src/audit/repository.ts takes the same lock.
  perform pg_advisory_xact_lock(hashtextextended('audit events of ' || site, 0));
  select e.* into last
    from (
      select a.*, bool_and(a.occurred_at < cutoff) over (order by a.sequence) as is_old
        from audit_events a join audit_chains c on c.site_id = a.site_id
        where a.site_id = site and a.sequence > c.pruned_sequence and a.sequence <= c.pruned_sequence + batch
    ) e
    where e.is_old
    order by e.sequence desc
    limit 1;
  if not found then
    return 0;
  end if;
  update audit_chains set pruned_sequence = last.sequence, pruned_hash = last.hash where site_id = site;
  delete from audit_events where site_id = site and sequence <= last.sequence;
  get diagnostics deleted = row_count;
  return deleted;
end
$$;
revoke execute on function prune_audit_events(integer, integer) from public;

create trigger continue_audit_chain before insert on audit_events
  for each row execute function continue_audit_chain();
create trigger refuse_audit_change before update or truncate on audit_events
  for each statement execute function refuse_audit_change();
create trigger delete_pruned_audit_event before delete on audit_events
  for each row execute function delete_pruned_audit_event();
create trigger move_audit_chain before update on audit_chains
  for each row execute function move_audit_chain();
create trigger refuse_audit_change before delete or truncate on audit_chains
  for each statement execute function refuse_audit_change();

-- ---------------------------------------------------------------------------------------------------------------------
-- Notifications
-- ---------------------------------------------------------------------------------------------------------------------

-- Receivers of a Site's expiry notices, beside those that the configuration names. src/notifications/channels has a file
-- for each kind, which defines the members of "target".
create table notice_receivers (
  id                         uuid                    constraint notice_receivers_pkey primary key,
  site_id                    text           not null,
  kind                       text           not null,
  target                     jsonb          not null,
  steps                      integer[],
  secret_jwe                 text,
  previous_secret_jwe        text,
  previous_secret_expires_at timestamptz(3),
  created_at                 timestamptz(3) not null,
  constraint notice_receivers_site_id_format check (site_id ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$'),
  constraint notice_receivers_kind_format check (kind ~ '^[a-z]+$'),
  constraint notice_receivers_target_object check (jsonb_typeof(target) = 'object'),
  constraint notice_receivers_previous_secret_complete check (
    num_nulls(previous_secret_jwe, previous_secret_expires_at) in (0, 2)
  )
);

comment on table notice_receivers is 'webhooks and mail addresses of a Site';
comment on column notice_receivers.target is 'where the receiver is: {"url": …} or {"addresses": […]}';
comment on column notice_receivers.steps is 'days before expiry of the steps it wants; null for all';
comment on column notice_receivers.secret_jwe is 'signing secret, encrypted under KEY_ENCRYPTION_KEY (JWE, dir, A256GCM); null for a kind that does not sign';
comment on column notice_receivers.previous_secret_jwe is 'also signs until previous_secret_expires_at';

create index notice_receivers_site_id on notice_receivers (site_id, created_at, id);

-- One row for each step of the cadence of one expiry of one registration. It outlives the registration.
create table notices (
  id         uuid                    constraint notices_pkey primary key,
  site_id    text           not null,
  client_id  text           not null,
  name       text           not null,
  enabled    boolean        not null,
  expires_at timestamptz(3) not null,
  step       integer        not null,
  fired_at   timestamptz(3) not null,
  -- In the order of registrations_expires_at: a merge of the two finds the notices that have not fired.
  constraint notices_once unique (expires_at, client_id, step)
);

comment on table notices is 'notices that have fired; rows of past expiries go after NOTICE_RETENTION_DAYS';
comment on column notices.name is 'as it was when the notice fired; so is enabled';
comment on column notices.step is 'days before expiry; 0 at expiry';

create index notices_site_id_fired_at on notices (site_id, fired_at, id);
create index notices_client_id_fired_at on notices (client_id, fired_at, id);

-- The outbox: one row for each notice and receiver. The deliveries to one receiver form a queue, so that a receiver that
-- is down or slow holds up its own queue only.
create table notice_deliveries (
  id              uuid                    constraint notice_deliveries_pkey primary key,
  notice_id       uuid           not null constraint notice_deliveries_notice_id_fkey references notices on delete cascade,
  site_id         text           not null,
  receiver_id     uuid,
  kind            text           not null,
  queue           text           not null generated always as (coalesce(receiver_id::text, kind)) stored,
  state           text           not null,
  attempts        integer        not null,
  due_at          timestamptz(3) not null,
  last_attempt_at timestamptz(3),
  delivered_at    timestamptz(3),
  last_error      text,
  reached         text[]         not null default '{}',
  constraint notice_deliveries_once unique (notice_id, queue),
  constraint notice_deliveries_state check (state in ('pending', 'delivered', 'dead', 'cancelled'))
);

comment on table notice_deliveries is 'deliveries of notices: pending ones, and the history';
comment on column notice_deliveries.receiver_id is 'id of a notice_receivers row, which may be deleted; null for the receiver of this kind that the configuration names';
comment on column notice_deliveries.queue is 'names the receiver: its id, or the kind of a receiver of the configuration';
comment on column notice_deliveries.due_at is 'when to try next; during an attempt, when its lease ends';
comment on column notice_deliveries.last_error is 'words of our own; never text from a receiver';
comment on column notice_deliveries.reached is 'recipients that have it although others refused it; a retry leaves them out';

-- One index walk finds the oldest due delivery of each queue, however many deliveries are pending.
create index notice_deliveries_pending on notice_deliveries (queue, due_at) where state = 'pending';
create index notice_deliveries_dead on notice_deliveries (notice_id) where state = 'dead';

-- ---------------------------------------------------------------------------------------------------------------------
-- Row-level security
-- ---------------------------------------------------------------------------------------------------------------------

-- The second barrier between Sites. A role that is no superuser sees and writes the rows of the Site that
-- "grantd.site_id" names, and all rows where it is '*'. A statement that forgets its "where" shows nothing of another
-- Site, and a session that never set it sees no row. The policies are forced, so that they also hold for the owner.
--
-- src/database/site-scoped-pool.ts sets it in each transaction, src/database/pipelined-connection.ts for the session.
--
-- "(select current_setting(...))" is evaluated once for each statement, not for each row. "case" costs less than "or",
-- and the planner estimates that half of the rows pass. With "or" it would estimate almost none, and choose other plans.
--
-- Three tables have no Site: signing_keys and mac_keys, which serve all, and idempotent_answers, whose rows are found by a digest of
-- Site, caller and key only, and opened by the key only.
create policy registrations_of_site on registrations using (
  case (select current_setting('grantd.site_id', true)) when '*' then true
    else site_id = (select current_setting('grantd.site_id', true)) end
);
create policy audit_events_of_site on audit_events using (
  case (select current_setting('grantd.site_id', true)) when '*' then true
    else site_id = (select current_setting('grantd.site_id', true)) end
);
create policy audit_chains_of_site on audit_chains using (
  case (select current_setting('grantd.site_id', true)) when '*' then true
    else site_id = (select current_setting('grantd.site_id', true)) end
);
create policy notice_receivers_of_site on notice_receivers using (
  case (select current_setting('grantd.site_id', true)) when '*' then true
    else site_id = (select current_setting('grantd.site_id', true)) end
);
create policy notices_of_site on notices using (
  case (select current_setting('grantd.site_id', true)) when '*' then true
    else site_id = (select current_setting('grantd.site_id', true)) end
);

-- Rows of these belong to the Site of a row of another table, whose policy decides.
create policy registration_last_used_of_site on registration_last_used for select using (
  case (select current_setting('grantd.site_id', true)) when '*' then true
    else exists (select from registrations r where r.client_id = registration_last_used.client_id) end
);
-- Only the token endpoint writes it, for clients of all Sites.
create policy registration_last_used_inserted on registration_last_used for insert
  with check ((select current_setting('grantd.site_id', true)) = '*');
create policy registration_last_used_updated on registration_last_used for update
  using ((select current_setting('grantd.site_id', true)) = '*');

create policy notice_deliveries_of_site on notice_deliveries using (
  case (select current_setting('grantd.site_id', true)) when '*' then true
    else exists (select from notices n where n.id = notice_deliveries.notice_id) end
);

alter table registrations          enable row level security, force row level security;
alter table registration_last_used enable row level security, force row level security;
alter table audit_events           enable row level security, force row level security;
alter table audit_chains           enable row level security, force row level security;
alter table notice_receivers       enable row level security, force row level security;
alter table notices                enable row level security, force row level security;
alter table notice_deliveries      enable row level security, force row level security;
