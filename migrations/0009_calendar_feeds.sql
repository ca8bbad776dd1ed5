-- A calendar that a stock calendar program can subscribe to: at most one for each Site. The key in its URL is the credential.
create table calendar_feeds (
  site_id    text                    constraint calendar_feeds_pkey primary key,
  key_digest bytea          not null constraint calendar_feeds_key_digest_key unique,
  created_at timestamptz(3) not null,
  constraint calendar_feeds_site_id_format check (site_id ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$'),
  constraint calendar_feeds_key_digest_length check (length(key_digest) = 32)
);

comment on table calendar_feeds is 'URLs by which calendar programs read the expiries of a Site';
comment on column calendar_feeds.key_digest is 'SHA-256 of the key in the URL, which has 256 random bits; nothing holds the key itself';
comment on column calendar_feeds.created_at is 'when the present key was created';

create policy calendar_feeds_of_site on calendar_feeds using (
  case (select current_setting('grantd.site_id', true)) when '*' then true
    else site_id = (select current_setting('grantd.site_id', true)) end
);
alter table calendar_feeds enable row level security, force row level security;
