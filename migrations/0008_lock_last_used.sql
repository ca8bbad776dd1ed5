-- Locks the Last used of a registration until the transaction ends, and returns it as it is committed by then. A deletion
-- that depends on it waits for the exchange that another instance is committing, and exchanges wait for the deletion. Only
-- a session that sees all Sites may lock a row of this table, so the function becomes one for the time of its statement.
create function lock_last_used(client text) returns setof registration_last_used
  language plpgsql security definer set search_path from current as $$
declare
  sites constant text := coalesce(current_setting('grantd.site_id', true), '');
begin
  -- The caller must see the registration. The owner may be a superuser, for whom row-level security does not hold.
  perform from registrations where client_id = client and sites in (site_id, '*');
  if not found then
    return;
  end if;
  perform set_config('grantd.site_id', '*', true);
  return query select * from registration_last_used where client_id = client for no key update;
  perform set_config('grantd.site_id', sites, true);
end
$$;
revoke execute on function lock_last_used(text) from public;
