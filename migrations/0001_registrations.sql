-- An App registration: what a Site Administrator manages and the token endpoint reads.
create table registrations (
  client_id     text           constraint registrations_pkey primary key,
  site_id       text           not null,
  name          text           not null,
  name_folded   text           collate "C" not null,
  secret_hash   text           not null,
  scopes        text[]         not null,
  enabled       boolean        not null,
  registered_at timestamptz(3) not null,
  expires_at    timestamptz(3) not null,
  version       integer        not null default 1,
  constraint registrations_client_id_format check (client_id ~ '^[a-z0-9]{20}$'),
  constraint registrations_site_id_format check (site_id ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$'),
  constraint registrations_secret_hash_format check (secret_hash like '$argon2id$%')
);

-- The grid of one Site, in its default order; also the count for the quota.
create index registrations_site_id_name_folded on registrations (site_id, name_folded, client_id);
create index registrations_site_id_expires_at on registrations (site_id, expires_at, client_id);
-- The grid over all Sites.
create index registrations_name_folded on registrations (name_folded, client_id);
create index registrations_registered_at on registrations (registered_at, client_id);
create index registrations_expires_at on registrations (expires_at, client_id);

comment on column registrations.site_id is 'opaque id of the Site, given by the admin UI';
comment on column registrations.name_folded is 'the name without case and accents: the key of sort and search';
comment on column registrations.secret_hash is 'Argon2id in PHC form; the secret itself is stored nowhere';
comment on column registrations.expires_at is 'the instant from which the secret is refused';
comment on column registrations.version is 'counts administrative changes; the ETag is made of it';
