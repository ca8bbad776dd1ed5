-- Why grantd itself has disabled a registration.
alter table registrations add column disabled_reason text;

comment on column registrations.disabled_reason is 'why grantd has disabled the registration, such as leaked; null when an administrator has, and without meaning while it is enabled';
