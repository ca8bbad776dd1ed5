-- A registration can have a key, by which files and pipelines name it. Release 0.2.0 creates registrations without one.
alter table registrations
  add column key text,
  add constraint registrations_key_format check (key ~ '^[a-z0-9][a-z0-9._-]{0,62}$') not valid;

comment on column registrations.key is 'name of the registration in files and pipelines, unique in its Site, never changed; null for none';
