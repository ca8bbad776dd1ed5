-- Since when a registration has the expiry that it has: notices of steps that were past by then don't fire.
-- The default is for releases that do not know the column.
alter table registrations add column expiry_set_at timestamptz(3) not null default now();
update registrations set expiry_set_at = registered_at;

comment on column registrations.expiry_set_at is 'when expires_at got its present value: at registration, or at the latest renewal';
