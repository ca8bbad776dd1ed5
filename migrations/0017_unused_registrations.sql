-- Registrations that nobody uses get a notice, and are disabled later.
alter table registrations
  add column may_idle          boolean not null default false,
  add column enabled_at        timestamptz(3),
  add column unused_noticed_at timestamptz(3);

comment on column registrations.may_idle is 'whether it may stay unused: nobody is told, and it is not disabled';
comment on column registrations.enabled_at is 'when it was enabled again; null for a registration that never was';
comment on column registrations.unused_noticed_at is 'latest notice that it is unused; a use after it begins another quiet period';

-- The rounds that look for unused registrations. One row: any instance does a round, and only one does.
create table unused_rounds (
  id       boolean        not null default true constraint unused_rounds_pkey primary key
                          constraint unused_rounds_one_row check (id),
  began_at timestamptz(3) not null
);

-- The times without a round: grantd or its database was away, and nobody could use anything. They do not count as unused.
create table unused_round_gaps (
  began_at timestamptz(3) constraint unused_round_gaps_pkey primary key,
  ended_at timestamptz(3) not null
);
