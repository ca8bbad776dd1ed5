-- A migration of its own: tokens are issued while it runs. Both indexes are empty at first, because no row has a digest
-- yet. Postgres reads the table once for each, about a second for a million rows, and administrators' changes wait.
create index registrations_secret_digest on registrations (secret_digest) where secret_digest is not null;
create index registrations_previous_secret_digest on registrations (previous_secret_digest)
  where previous_secret_digest is not null;
