-- The rights of the serving role, granted again after each migration. docs/deploy.md describes the two roles.
--
-- The role is a group without login. src/database/serving-role.ts gives its name, in a setting. Give it to the role in
-- DATABASE_URL, for example: grant grantd_serving to grantd_web
do $$
declare
  role constant name := current_setting('grantd.serving_role');
  grants record;
begin
  if not exists (select from pg_roles where rolname = role) then
    begin
      execute format('create role %I nologin', role);
    exception
      when duplicate_object or unique_violation then null; -- another instance created it at the same time
      when insufficient_privilege then
        raise warning 'The role "%" does not exist, and "%" may not create roles. Unless grantd serves as "%", an administrator must run: create role "%" nologin. Then migrate again.',
          role, current_user, current_user, role;
        return;
    end;
  end if;

  -- Takes back rights that were granted by hand, and those of another database's role, of which this one is a copy.
  for grants in
    select distinct rolname from pg_namespace
        join pg_class on relnamespace = pg_namespace.oid, aclexplode(relacl) as acl
        join pg_roles on pg_roles.oid = acl.grantee
      where nspname = current_schema() and rolname like '%\_serving' and not rolcanlogin
  loop
    execute format('revoke all on all tables in schema %I from %I', current_schema(), grants.rolname);
    execute format('revoke all on all functions in schema %I from %I', current_schema(), grants.rolname);
  end loop;

  if not has_schema_privilege(role, current_schema(), 'usage') then
    execute format('grant usage on schema %I to %I', current_schema(), role);
  end if;
  for grants in
    select * from (values
      ('select, insert, update, delete', 'registrations'),
      ('select, insert, update',         'registration_last_used'),
      ('execute',                        'function lock_last_used(text)'),
      ('select, insert, update',         'registration_refusals'),
      ('select, insert, update',         'unused_rounds'),
      ('select, insert',                 'unused_round_gaps'),
      ('select, insert, update',         'assertion_uses'),
      ('select, insert, update, delete', 'claim_tickets'),
      ('select, insert, update, delete', 'token_revocations'),
      ('select, insert, update, delete', 'idempotent_answers'),
      ('select',                         'signing_keys'),
      ('execute',                        'function add_signing_key'),
      ('execute',                        'function reencrypt_signing_key'),
      ('execute',                        'function destroy_retired_signing_keys'),
      ('select, insert, update (encrypted_key), delete', 'mac_keys'),
      ('select, insert',                 'audit_events'),
      ('select',                         'audit_chains'),
      ('execute',                        'function prune_audit_events(integer, integer)'),
      ('select, insert, update, delete', 'notice_receivers'),
      ('select, insert, update (key_digest, created_at), delete', 'calendar_feeds'),
      -- Old notices are deleted, and their deliveries with them (on delete cascade).
      ('select, insert, delete',         'notices'),
      ('select, insert, update',         'notice_deliveries'),
      ('select',                         'grantd_migrations')
    ) as wanted (privileges, object)
  loop
    execute format('grant %s on %s to %I', grants.privileges, grants.object, role);
  end loop;
end
$$;
