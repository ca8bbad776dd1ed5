-- Notices that are no step of the expiry cadence, such as a leaked secret. They have no step, so that notices_once, which
-- keeps a step from firing twice, does not apply to them.
alter table notices
  add column type text not null default 'expiry',
  add column details jsonb not null default '{}',
  alter column step drop not null,
  add constraint notices_step_of_expiry check ((type = 'expiry') = (step is not null)) not valid;

comment on column notices.type is 'expiry for a step of the cadence; src/notifications/types.ts has the others';
comment on column notices.details is 'more members of the event, which depend on its type';
comment on column notices.step is 'days before expiry; 0 at expiry; null for another type';

-- Retention finds those of the other types by it.
create index notices_fired_at on notices (fired_at) where type <> 'expiry';
