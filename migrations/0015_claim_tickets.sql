-- One-time rights to get a secret of a registration. The ticket itself is stored nowhere.
create table claim_tickets (
  digest          bytea                    constraint claim_tickets_pkey primary key,
  client_id       text           not null constraint claim_tickets_client_id_fkey references registrations on delete cascade,
  overlap_seconds integer        not null,
  created_at      timestamptz(3) not null,
  expires_at      timestamptz(3) not null,
  used_at         timestamptz(3),
  reused_at       timestamptz(3),
  constraint claim_tickets_digest_length check (length(digest) = 32)
);

comment on table claim_tickets is 'claim tickets: the open one of each registration, and its latest ten that were used';
comment on column claim_tickets.digest is 'SHA-256 of the ticket, which has 256 random bits';
comment on column claim_tickets.overlap_seconds is 'how long the secret before it is accepted beside the claimed one';
comment on column claim_tickets.reused_at is 'when a used ticket was first presented again; its Site got a notice then';

-- A registration has one open ticket.
create unique index claim_tickets_open on claim_tickets (client_id) where used_at is null;
create index claim_tickets_client_id on claim_tickets (client_id, used_at);

create policy claim_tickets_of_site on claim_tickets using (
  case (select current_setting('grantd.site_id', true)) when '*' then true
    else exists (select from registrations r where r.client_id = claim_tickets.client_id) end
);
alter table claim_tickets enable row level security, force row level security;
