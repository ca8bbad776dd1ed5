-- Access tokens that can be stopped, shortened and bound to a key, and clients that may introspect tokens.
alter table registrations
  add column tokens_valid_from      timestamptz(0),
  add column token_lifetime_seconds integer,
  add column dpop_bound             boolean not null default false,
  add column may_introspect         boolean not null default false;

comment on column registrations.tokens_valid_from is 'access tokens that were issued before are not active; a whole second, as "iat" is; null when none was ever stopped';
comment on column registrations.token_lifetime_seconds is 'lifetime of access tokens; null for ACCESS_TOKEN_TTL_SECONDS';
comment on column registrations.dpop_bound is 'whether the client gets only tokens that are bound to its key (RFC 9449)';
comment on column registrations.may_introspect is 'whether the client may introspect the tokens of its Site (RFC 7662)';

-- Returns the cut-off that stops every token issued so far. "iat" has whole seconds, so it is the start of the next second.
-- When the clock of the database was set back, tokens may already have the old cut-off as their "iat".
create function next_token_cut_off(present timestamptz) returns timestamptz
  language plpgsql volatile as $$
declare
  upcoming constant timestamptz := date_trunc('second', clock_timestamp()) + interval '1 second';
begin
  return case when present > upcoming then present + interval '1 second' else upcoming end;
end
$$;

-- Disabling a registration stops its tokens. Enabling it does so too: an exchange on another instance may have read the
-- registration just before the disabling was committed, and its token must not come back. An instance of release 0.2.0
-- disables registrations without knowing the column.
create function stop_tokens() returns trigger
  language plpgsql set search_path from current as $$
begin
  new.tokens_valid_from := next_token_cut_off(old.tokens_valid_from);
  return new;
end
$$;
create trigger stop_tokens before update on registrations for each row when (
  new.enabled is distinct from old.enabled
) execute function stop_tokens();

-- The expiry of a registration stops its tokens. Some end later, when "expires_at" was moved to within a day after they
-- were issued: a renewal must not bring them back. (A token lives for an hour at most, and clocks of instances may differ.)
-- Every token was issued before the expiry, so the cut-off is the first whole second from then on. Any other renewal moves
-- "expires_at" and nothing else.
create function stop_tokens_of_expired() returns trigger
  language plpgsql set search_path from current as $$
begin
  new.tokens_valid_from := greatest(
    new.tokens_valid_from,
    date_trunc('second', old.expires_at + interval '999999 microseconds')
  );
  return new;
end
$$;
create trigger stop_tokens_of_expired before update on registrations for each row when (
  new.expires_at is distinct from old.expires_at and old.expires_at <= clock_timestamp()
  and old.expiry_set_at <> old.registered_at and old.expires_at < old.expiry_set_at + interval '1 day'
) execute function stop_tokens_of_expired();
