-- The latest refused token requests of each registration, for its diagnosis. There are two slots: a caller that guesses
-- secrets overwrites the second one only. A registration has a row from its first refusal on.
create table registration_refusals (
  client_id                 text           constraint registration_refusals_pkey primary key
                                           constraint registration_refusals_client_id_fkey references registrations on delete cascade,
  with_credential_at        timestamptz(3),
  with_credential_reason    text,
  with_credential_source    text,
  with_credential_count     bigint         not null default 0,
  without_credential_at     timestamptz(3),
  without_credential_reason text,
  without_credential_source text,
  without_credential_count  bigint         not null default 0,
  constraint registration_refusals_with_credential_complete check (
    num_nulls(with_credential_at, with_credential_reason, with_credential_source) in (0, 3)
  ),
  constraint registration_refusals_without_credential_complete check (
    num_nulls(without_credential_at, without_credential_reason, without_credential_source) in (0, 3)
  )
);

comment on table registration_refusals is 'latest refused token requests of each registration; a slot is cleared 30 days after its latest refusal';
comment on column registration_refusals.with_credential_at is 'latest refusal of a caller that presented a credential of the registration';
comment on column registration_refusals.with_credential_reason is 'reason as in the log';
comment on column registration_refusals.with_credential_source is 'address of the caller';
comment on column registration_refusals.with_credential_count is 'refusals since the slot was empty';
comment on column registration_refusals.without_credential_at is 'latest refusal of a caller that named the registration and proved nothing';

create index registration_refusals_with_credential_at on registration_refusals (with_credential_at);
create index registration_refusals_without_credential_at on registration_refusals (without_credential_at);

-- Rows belong to the Site of their registration. Only the token endpoint writes them, for clients of all Sites.
create policy registration_refusals_of_site on registration_refusals for select using (
  case (select current_setting('grantd.site_id', true)) when '*' then true
    else exists (select from registrations r where r.client_id = registration_refusals.client_id) end
);
create policy registration_refusals_inserted on registration_refusals for insert
  with check ((select current_setting('grantd.site_id', true)) = '*');
create policy registration_refusals_updated on registration_refusals for update
  using ((select current_setting('grantd.site_id', true)) = '*');
alter table registration_refusals enable row level security, force row level security;
