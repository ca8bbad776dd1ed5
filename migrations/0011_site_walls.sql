-- The second wall between Sites. Whoever isn't a superuser sees and writes the rows of the Site that "grantd.site_id"
-- names, and all where it is '*': a statement that forgets its "where" shows nothing of another Site. Forced, so that
-- the owner stands behind it too. src/database/site-scoped-pool.ts sets it in every transaction of a pool, the lanes of the
-- token endpoint in their session; after a transaction it is empty, and shows nothing.
--
-- Where it was never set in a session all is seen: that is a release from before the wall, which goes on working.
--
-- "(select current_setting(...))" is asked once for each statement, not for each row; "case" costs less than "or",
-- and makes the planner guess half the rows rather than next to none, which would turn its plans.
--
-- No Site have: signing_keys, which sign for all; idempotent_creates, found by a digest of Site, caller and key, and
-- opened by nothing else.

create policy registrations_of_site on registrations using (
  case (select coalesce(current_setting('grantd.site_id', true), '*')) when '*' then true
    else site_id = (select current_setting('grantd.site_id', true)) end
);
create policy audit_events_of_site on audit_events using (
  case (select coalesce(current_setting('grantd.site_id', true), '*')) when '*' then true
    else site_id = (select current_setting('grantd.site_id', true)) end
);
create policy audit_chains_of_site on audit_chains using (
  case (select coalesce(current_setting('grantd.site_id', true), '*')) when '*' then true
    else site_id = (select current_setting('grantd.site_id', true)) end
);
create policy notice_receivers_of_site on notice_receivers using (
  case (select coalesce(current_setting('grantd.site_id', true), '*')) when '*' then true
    else site_id = (select current_setting('grantd.site_id', true)) end
);
create policy notices_of_site on notices using (
  case (select coalesce(current_setting('grantd.site_id', true), '*')) when '*' then true
    else site_id = (select current_setting('grantd.site_id', true)) end
);

-- These have the Site of what they belong to, whose own policy says which that may be.
create policy registration_last_used_of_site on registration_last_used for select using (
  case (select coalesce(current_setting('grantd.site_id', true), '*')) when '*' then true
    else exists (select from registrations r where r.client_id = registration_last_used.client_id) end
);
-- The token endpoint alone writes it, for clients of all Sites.
create policy registration_last_used_noted on registration_last_used for insert
  with check ((select coalesce(current_setting('grantd.site_id', true), '*')) = '*');
create policy registration_last_used_moved on registration_last_used for update
  using ((select coalesce(current_setting('grantd.site_id', true), '*')) = '*');
create policy notice_deliveries_of_site on notice_deliveries using (
  case (select coalesce(current_setting('grantd.site_id', true), '*')) when '*' then true
    else exists (select from notices n where n.id = notice_deliveries.notice_id) end
);

alter table registrations          enable row level security, force row level security;
alter table registration_last_used enable row level security, force row level security;
alter table audit_events           enable row level security, force row level security;
alter table audit_chains           enable row level security, force row level security;
alter table notice_receivers       enable row level security, force row level security;
alter table notices                enable row level security, force row level security;
alter table notice_deliveries      enable row level security, force row level security;
