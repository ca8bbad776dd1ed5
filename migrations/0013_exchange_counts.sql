-- Counts the exchanges of each registration. Listings by this count read an index of the number of its digits with its first
-- two digits. Few exchanges change that, so that Postgres still updates most rows in place (heap-only tuples). A generated
-- column would rewrite the whole table; the statements that count set both columns.
alter table registration_last_used
  add column exchange_count        bigint   not null default 0,
  add column exchange_count_bucket smallint not null default 100;

create function exchange_count_bucket(exchange_count bigint) returns smallint
  language sql immutable parallel safe
  return (100 * length(exchange_count::text) + left(exchange_count::text, 2)::integer)::smallint;

comment on column registration_last_used.exchange_count is 'successful exchanges; those before this column was added are not counted';
comment on column registration_last_used.exchange_count_bucket is 'exchange_count_bucket(exchange_count): 100 times the number of digits, plus the first two digits';
