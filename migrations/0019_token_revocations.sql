-- Access tokens that their clients have revoked (RFC 7009). A row is dropped when its token has expired.
create table token_revocations (
  client_id text           not null constraint token_revocations_client_id_fkey references registrations on delete cascade,
  jti       text           not null,
  ends_at   timestamptz(3) not null,
  constraint token_revocations_pkey primary key (client_id, jti),
  constraint token_revocations_jti_length check (length(jti) between 1 and 255)
);

comment on table token_revocations is 'access tokens that are revoked before they expire: at most 100 for each registration';
comment on column token_revocations.ends_at is '"exp" of the token';

create index token_revocations_ends_at on token_revocations (ends_at);

create policy token_revocations_of_site on token_revocations using (
  case (select current_setting('grantd.site_id', true)) when '*' then true
    else exists (select from registrations r where r.client_id = token_revocations.client_id) end
);
alter table token_revocations enable row level security, force row level security;
