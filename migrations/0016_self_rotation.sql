alter table registrations add column self_rotation boolean not null default false;

comment on column registrations.self_rotation is 'whether the client may exchange its current secret for a new one';
