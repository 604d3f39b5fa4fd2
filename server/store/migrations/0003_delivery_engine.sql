-- Ids in the order in which they were made; what providers say of credentials; where a device belongs; work that waits
-- for a credential; news of an account that is about no recipient.

-- A UUIDv7 by the database's clock, with its microseconds (RFC 9562, 6.2, method 3): within a millisecond, too, a later
-- one is higher.
create or replace function new_id() returns uuid language sql volatile as $$
  select (lpad(to_hex(us / 1000), 12, '0') || '7' || lpad(to_hex(us % 1000 * 4096 / 1000), 3, '0')
          || substr(r, 17, 16))::uuid
  from (select (extract(epoch from clock_timestamp()) * 1000000)::bigint as us,
               replace(gen_random_uuid()::text, '-', '') as r) as made
$$;

-- The same with its low 14 bits zero: the id of an operation. Plus a recipient's index it is a notification's id.
create or replace function new_operation_id() returns uuid language sql volatile as $$
  select (lpad(to_hex(us / 1000), 12, '0') || '7' || lpad(to_hex(us % 1000 * 4096 / 1000), 3, '0') || substr(r, 17, 12)
          || substr('048c', 1 + get_byte(decode(substr(r, 29, 2), 'hex'), 0) % 4, 1) || '000')::uuid
  from (select (extract(epoch from clock_timestamp()) * 1000000)::bigint as us,
               replace(gen_random_uuid()::text, '-', '') as r) as made
$$;

-- What the provider last said against a credential. No row, or one about an older version of its content: nothing.
create table credential_health (
  account_id    uuid not null,
  credential_id uuid not null,
  version       integer not null,      -- of the content that it is about
  state         smallint not null,     -- the contract's number: 2 throttled, 3 rejected
  since         timestamptz not null,
  until         timestamptz,           -- when a throttled one may be used again
  reason        text not null,         -- the provider's code
  primary key (account_id, credential_id),
  foreign key (account_id, credential_id) references credentials on delete cascade
);

-- Apple's environment that a device is known to belong to: 1 production, 2 development; null where nobody knows.
alter table devices add column environment smallint;

-- The rejected credential that a job waits for: it is due again at once when the credential changes.
alter table jobs add column held_by uuid;
create index jobs_held on jobs (account_id, held_by) where held_by is not null;

-- For claims that take turns between accounts.
create index jobs_account on jobs (lane, account_id, due_at);

-- Where a batch of a bulk send stands in the queue: the 20 batches of 10,000 recipients spread over a minute up to its
-- due time. So the first batch of a later send comes before the last ones of an earlier send, and nobody starves.
create function spread_batch(due_at timestamptz, batch_no integer) returns timestamptz language sql immutable as $$
  select due_at - interval '1 minute' + least(batch_no, 20) * interval '3 seconds'
$$;

-- What happened to an account besides its recipients. In the feed: seq is of the same numbers as that of events.
create table notices (
  account_id uuid not null,
  seq        bigint not null,
  at         timestamptz not null default now(),
  kind       smallint not null,  -- 1 a credential's health, 2 removal of devices stopped
  body       jsonb not null,
  primary key (account_id, seq)
);
create index notices_at on notices (at);
