-- A migration of its own: tokens are issued while it runs. The index is empty at first, because no row has a key yet.
-- Postgres reads the table twice, about a second each for a million rows, and administrators' changes wait.
-- The key comes first, so that the index finds a key in all Sites too.
create unique index registrations_key on registrations (key, site_id) where key is not null;
alter table registrations validate constraint registrations_key_format;
