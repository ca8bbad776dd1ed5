-- A migration of its own: tokens are issued while it runs. Postgres reads a narrow table once, about a second for a million
-- rows. Uses wait in memory meanwhile.
create index registration_last_used_exchange_count on registration_last_used (exchange_count_bucket, client_id);
