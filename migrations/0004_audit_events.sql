-- What administrators did. A Site's events are a chain: each carries the hash of the one before it.
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
  constraint audit_events_action_format check (action ~ '^[a-z]+(\.[a-z]+)+$'),
  constraint audit_events_hash_length check (length(hash) = 32 and length(previous_hash) = 32)
);

-- Where each chain ends and where it begins: events that are gone from either end are missed.
create table audit_chains (
  site_id         text    constraint audit_chains_pkey primary key,
  sequence        integer not null,
  hash            bytea   not null,
  pruned_sequence integer not null default 0,
  pruned_hash     bytea   not null default decode(repeat('00', 32), 'hex'),
  constraint audit_chains_order check (0 <= pruned_sequence and pruned_sequence <= sequence)
);

-- Listings, the newest event first: each filter in one Site, and over all of them.
create index audit_events_site_id_occurred_at on audit_events (site_id, occurred_at, sequence);
create index audit_events_site_id_actor on audit_events (site_id, actor, occurred_at, sequence);
create index audit_events_site_id_action on audit_events (site_id, action, occurred_at, sequence);
create index audit_events_occurred_at on audit_events (occurred_at, site_id, sequence);
create index audit_events_actor on audit_events (actor, occurred_at, site_id, sequence);
create index audit_events_action on audit_events (action, occurred_at, site_id, sequence);
-- A subject is of one Site: one index serves both.
create index audit_events_subject on audit_events (subject, occurred_at, site_id, sequence);

comment on column audit_events.sequence is 'counts the events of the Site from 1 on, without a gap';
comment on column audit_events.subject is 'client id of the registration, or id of what else was acted on';
comment on column audit_events.actor is '"sub" of the administrator''s token';
comment on column audit_events.changes is 'per field its value before and after; never a secret or a hash of one';
comment on column audit_events.previous_hash is '"hash" of the event before, in this Site; 32 zero bytes in the first';
comment on column audit_events.hash is 'SHA-256 over this event and previous_hash; src/audit/chain.ts says how';
comment on column audit_chains.sequence is 'that of the newest event';
comment on column audit_chains.pruned_sequence is 'that of the newest event that retention has deleted; 0 for none';

-- The end of a chain moves with its events alone. As the owner, so that nobody else need be able to.
create function continue_audit_chain() returns trigger
  language plpgsql security definer set search_path = public, pg_temp as $$
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

-- Retention moves the beginning of a chain first: only what lies before it can be deleted.
create function delete_pruned_audit_event() returns trigger
  language plpgsql set search_path = public, pg_temp as $$
begin
  if not exists (select from audit_chains where site_id = old.site_id and old.sequence <= pruned_sequence) then
    raise exception 'audit_events is append-only' using errcode = 'insufficient_privilege';
  end if;
  return old;
end
$$;

-- The end moves from within continue_audit_chain, the beginning forward to an event that is there.
create function move_audit_chain() returns trigger
  language plpgsql set search_path = public, pg_temp as $$
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
  raise exception 'audit_chains moves with its events alone' using errcode = 'insufficient_privilege';
end
$$;

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
