-- What the serving role may do, run again after every migration; see README, "Two database roles".
-- The role is a group without login: give it to the role in DATABASE_URL with "grant grantd_serving to ...".
do $$
begin
  if not exists (select from pg_roles where rolname = 'grantd_serving') then
    begin
      create role grantd_serving nologin;
    exception
      -- Another database of the same cluster was faster.
      when duplicate_object or unique_violation then null;
      when insufficient_privilege then
        raise notice 'grantd_serving: this role may not create roles; ask an administrator to, then migrate again';
        return;
    end;
  end if;

  -- Until Postgres 14 everybody may create tables in "public"; only its owner can take that back.
  revoke create on schema public from public;
  revoke all on all tables in schema public from grantd_serving;
  grant usage on schema public to grantd_serving;
  grant select, insert, update, delete on registrations to grantd_serving;
  grant select, insert, update on registration_last_used to grantd_serving;
  -- Makes keys, seals them anew when KEY_ENCRYPTION_KEY changes, and destroys those whose time is over. It can't put
  -- another key in the place of one that exists; one that it adds counts only if KEY_ENCRYPTION_KEY has sealed it.
  grant select, insert, update (private_jwe) on signing_keys to grantd_serving;
  grant execute on function destroy_retired_signing_keys(timestamptz) to grantd_serving;
  grant select, insert on audit_events to grantd_serving;
  grant select on audit_chains to grantd_serving;
  grant select, insert, update, delete on idempotent_answers to grantd_serving;
  grant select, insert, update, delete on notice_receivers to grantd_serving;
  -- Old notices go, and by the foreign key's cascade their deliveries, which it can't delete otherwise.
  grant select, insert, delete on notices to grantd_serving;
  grant select, insert, update on notice_deliveries to grantd_serving;
  grant select on kysely_migration to grantd_serving;
end
$$;
