-- Whom a Site wants told of expiries, beside the receivers that the configuration names.
create table notice_receivers (
  id                     uuid           constraint notice_receivers_pkey primary key,
  site_id                text           not null,
  kind                   text           not null,
  url                    text,
  addresses              text[],
  steps                  integer[],
  sealed_secret          text,
  sealed_previous_secret text,
  previous_secret_until  timestamptz(3),
  created_at             timestamptz(3) not null,
  constraint notice_receivers_kind check (
    (kind = 'webhook' and url is not null and sealed_secret is not null and addresses is null)
    or (kind = 'mail' and addresses is not null and url is null and sealed_secret is null)
  )
);

create index notice_receivers_site_id on notice_receivers (site_id, created_at, id);

comment on column notice_receivers.steps is 'days before expiry of the steps it wants; null for all';
comment on column notice_receivers.sealed_secret is 'signing secret sealed under KEY_ENCRYPTION_KEY (JWE, dir, A256GCM)';
comment on column notice_receivers.sealed_previous_secret is 'also signs until previous_secret_until';

-- What fired: a row for each step of the cadence of one expiry of one registration. History outlives the registration.
create table notices (
  id         uuid           constraint notices_pkey primary key,
  site_id    text           not null,
  client_id  text           not null,
  name       text           not null,
  enabled    boolean        not null,
  expires_at timestamptz(3) not null,
  step       integer        not null,
  fired_at   timestamptz(3) not null,
  -- In the order of registrations_expires_at, with which it is merged to see what has not fired.
  constraint notices_once unique (expires_at, client_id, step)
);

create index notices_site_id_fired_at on notices (site_id, fired_at, id);
create index notices_client_id_fired_at on notices (client_id, fired_at, id);

comment on column notices.step is 'days before expiry; 0 at expiry';
comment on column notices.name is 'as it was when the notice fired; so is enabled';

-- The outbox: what each receiver is to be told.
create table notice_deliveries (
  id              uuid           constraint notice_deliveries_pkey primary key,
  notice_id       uuid           not null constraint notice_deliveries_notice_id_fkey references notices on delete cascade,
  receiver_id     uuid           not null,
  kind            text           not null,
  state           text           not null,
  attempts        integer        not null,
  due_at          timestamptz(3) not null,
  last_attempt_at timestamptz(3),
  delivered_at    timestamptz(3),
  last_error      text,
  constraint notice_deliveries_once unique (notice_id, receiver_id),
  constraint notice_deliveries_kind check (kind in ('webhook', 'mail')),
  constraint notice_deliveries_state check (state in ('pending', 'delivered', 'dead', 'cancelled'))
);

-- What is to be sent, by receiver, so that none waits for another.
create index notice_deliveries_pending on notice_deliveries (receiver_id, due_at) where state = 'pending';
create index notice_deliveries_dead on notice_deliveries (notice_id) where state = 'dead';

comment on column notice_deliveries.receiver_id is 'id of a notice_receivers row, or one of the two ids that stand for the receivers of the configuration';
comment on column notice_deliveries.due_at is 'when to try next; while somebody tries, when its lease ends';
comment on column notice_deliveries.last_error is 'from a fixed vocabulary: nothing that a receiver said';
