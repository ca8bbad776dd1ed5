-- Beside registrations rather than in it: a row of this table is rewritten by every exchange,
-- narrow and without a second index, so that Postgres updates it in place (HOT).
create table registration_last_used (
  client_id    text           constraint registration_last_used_pkey primary key
                              constraint registration_last_used_client_id_fkey references registrations on delete cascade,
  last_used_at timestamptz(3) not null
) with (fillfactor = 50);

comment on column registration_last_used.last_used_at is 'instant of the latest successful exchange; only moves forward';
