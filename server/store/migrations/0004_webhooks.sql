-- Webhooks: addresses of an account that its feed is posted to.

create table webhooks (
  account_id    uuid not null references accounts on delete cascade,
  webhook_id    uuid not null default new_id(),
  url           text not null,
  event_types   text[] not null,             -- empty: all
  description   text not null,
  status        smallint not null default 1, -- the contract's number: 1 active, 2 paused, 3 disabled
  sealed        bytea not null,              -- the secret
  old_sealed    bytea,                       -- the one before, with which events are signed too
  old_until     timestamptz,
  created_at    timestamptz not null default now(),
  updated_at    timestamptz not null default now(),
  -- How far its deliveries have got: up to here the feed was read, and what it gets of that is in webhook_deliveries.
  epoch         uuid not null,
  last_seq      bigint not null,
  -- Who delivers holds a lease. due_at is when somebody looks next, and the lease's expiry, in one.
  lease         uuid,
  due_at        timestamptz not null default 'infinity',
  follows       boolean not null default true,  -- it is due as soon as the feed has grown, too
  served_at     timestamptz not null default now(),
  failures      integer not null default 0,  -- attempts in a row that failed
  failing_since timestamptz,                 -- the first of them
  primary key (account_id, webhook_id)
) with (fillfactor = 50);
create index webhooks_due on webhooks (due_at) where status = 1;

-- One event for one webhook: the log, and what is still to deliver. The event itself is made of the feed's entry.
create table webhook_deliveries (
  account_id      uuid not null,
  webhook_id      uuid not null,
  delivery_id     uuid not null default new_id(),
  epoch           uuid not null,
  seq             bigint not null,
  type            text not null,
  missed_after    bigint,                      -- of an event about entries that are no longer kept: behind which one
  status          smallint not null default 1, -- the contract's number: 1 pending, 2 delivered, 3 failed
  attempts        integer not null default 0,
  due_at          timestamptz not null default now(),
  last_attempt_at timestamptz,
  response_status integer not null default 0,  -- 0: there was no answer
  error           text not null default '',
  created_at      timestamptz not null default now(),
  ended_at        timestamptz,
  primary key (account_id, webhook_id, delivery_id),
  foreign key (account_id, webhook_id) references webhooks on delete cascade
) with (fillfactor = 70);
create index webhook_deliveries_pending on webhook_deliveries (account_id, webhook_id, due_at) where status = 1;
create index webhook_deliveries_failed on webhook_deliveries (account_id, webhook_id, delivery_id) where status = 3;
create index webhook_deliveries_ended on webhook_deliveries (account_id, ended_at) where status <> 1;
