-- Every key begins with account_id: no hot statement but the claim crosses accounts.
-- Statuses and types are small integers with the numbers of the contract's enums.

-- A UUIDv7 (RFC 9562) by the database's clock.
create function new_id() returns uuid language sql volatile as $$
  select (lpad(to_hex((extract(epoch from clock_timestamp()) * 1000)::bigint), 12, '0')
          || '7' || substr(r, 1, 3) || substr(r, 17, 16))::uuid
  from (select replace(gen_random_uuid()::text, '-', '') as r) as random
$$;

-- The same with its low 14 bits zero: the id of an operation. Plus a recipient's index it is a notification's id.
create function new_operation_id() returns uuid language sql volatile as $$
  select (lpad(to_hex((extract(epoch from clock_timestamp()) * 1000)::bigint), 12, '0')
          || '7' || substr(r, 1, 3) || substr(r, 17, 12)
          || substr('048c', 1 + get_byte(decode(substr(r, 29, 2), 'hex'), 0) % 4, 1) || '000')::uuid
  from (select replace(gen_random_uuid()::text, '-', '') as r) as random
$$;

create table accounts (
  account_id      uuid primary key,
  name            text not null,
  auth_token_hash bytea not null,  -- SHA-256; the token is 256 random bits
  created_at      timestamptz not null default now()
);

create table api_keys (
  key_id      uuid primary key,
  account_id  uuid not null references accounts on delete cascade,
  name        text not null,
  secret_hash bytea not null,  -- SHA-256
  created_at  timestamptz not null default now()
);

create table apps (
  account_id uuid not null references accounts on delete cascade,
  app_id     uuid not null default new_id(),
  name       text not null,
  is_default boolean not null,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  primary key (account_id, app_id),
  unique (account_id, name)
);
create unique index apps_default on apps (account_id) where is_default;

create table credentials (
  account_id      uuid not null,
  credential_id   uuid not null default new_id(),
  app_id          uuid not null,
  credential_type smallint not null,
  is_default      boolean not null,
  version         integer not null default 1,  -- counts rotations of the content
  sealed          bytea not null,
  not_after       timestamptz,                 -- end of the certificate's validity
  created_at      timestamptz not null default now(),
  updated_at      timestamptz not null default now(),
  primary key (account_id, credential_id),
  foreign key (account_id, app_id) references apps on delete cascade
);
create unique index credentials_default on credentials (account_id, app_id, credential_type) where is_default;
create index credentials_app on credentials (account_id, app_id);

create table users (
  account_id uuid not null references accounts on delete cascade,
  user_id    uuid not null default new_id(),
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  deleted_at timestamptz,
  primary key (account_id, user_id)
);

create table device_registrations (
  account_id      uuid not null,
  registration_id uuid not null default new_id(),
  app_id          uuid not null,
  user_id         uuid not null,
  created_at      timestamptz not null default now(),
  updated_at      timestamptz not null default now(),
  primary key (account_id, registration_id),
  unique (account_id, user_id, app_id),
  foreign key (account_id, app_id) references apps on delete cascade,
  foreign key (account_id, user_id) references users on delete cascade
);
create index device_registrations_app on device_registrations (account_id, app_id);

create table devices (
  account_id      uuid not null,
  app_id          uuid not null,
  provider        smallint not null,
  token_hash      bytea not null,                      -- SHA-256: a token is too long for an index
  token           text not null,
  kind            smallint not null default 1,         -- 1 token; 2 Firebase installation id
  registration_id uuid not null,
  user_id         uuid not null,
  added           bigint generated always as identity, -- for the order only
  registered_at   timestamptz not null default now(),  -- last time the app said that it has this token
  primary key (account_id, app_id, provider, token_hash),
  foreign key (account_id, registration_id) references device_registrations on delete cascade
);
create index devices_user on devices (account_id, user_id, app_id, added);
create index devices_registration on devices (account_id, registration_id, added);

create table idempotency_keys (
  account_id  uuid not null references accounts on delete cascade,
  method      text not null,
  key         text not null,
  fingerprint bytea not null,
  response    bytea,
  created_at  timestamptz not null default now(),
  primary key (account_id, method, key)
);

-- One row per send. What changes with every flush is narrow; the message lies in TOAST and is not rewritten.
create table operations (
  account_id     uuid not null references accounts on delete cascade,
  operation_id   uuid not null,
  app_id         uuid not null,
  app_name       text not null,
  fcm_credential uuid,                    -- only where the request named it; else the app's default at claim
  apn_credential uuid,
  message        text not null,           -- JSON: templates and presentation, as accepted
  tags           jsonb not null,
  ttl            integer,                 -- seconds
  due_at         timestamptz not null,
  deadline       timestamptz not null,    -- no attempt begins after it
  created_at     timestamptz not null,
  updated_at     timestamptz not null,
  ended_at       timestamptz,
  status         smallint not null,
  recipients     integer not null,
  unaddressable  integer not null default 0,
  sent           integer not null default 0,
  failed         integer not null default 0,
  canceled       integer not null default 0,
  primary key (account_id, operation_id),
  check (unaddressable + sent + failed + canceled <= recipients)
) with (fillfactor = 50, toast_tuple_target = 256);
alter table operations alter column message set storage external;
create index operations_tags on operations using gin (tags jsonb_path_ops);

-- The recipients of a send, up to 500 a row, written once. Position i of each array is recipient first_index + i - 1.
create table batches (
  account_id   uuid not null,
  operation_id uuid not null,
  batch_no     integer not null,
  first_index  integer not null,
  user_ids     uuid[] not null,      -- null where the recipient is a token
  tokens       text[] not null,      -- null where the recipient is a user
  providers    smallint[] not null,  -- null where the recipient is a user
  variables    text[] not null,      -- a JSON object; null where there is none
  primary key (account_id, operation_id, batch_no)
) partition by range (operation_id);
alter table batches alter column user_ids set storage external;
alter table batches alter column tokens set storage external;
alter table batches alter column variables set storage external;

-- The queue: one narrow row per batch with work left. due_at is queue order, backoff and lease expiry in one.
create table jobs (
  account_id   uuid not null,
  job_id       uuid not null default gen_random_uuid(),
  operation_id uuid not null,
  batch_no     integer not null,
  lane         smallint not null,           -- 0 small sends, 1 bulk
  due_at       timestamptz not null,
  picks        smallint not null default 0, -- claims since the last flush: a job that kills its workers is poison
  lease        uuid,
  indexes      integer[],                   -- recipients still to do; null means the whole batch
  progress     bytea,                       -- recipients begun and not final, with their devices
  primary key (account_id, job_id)
) with (fillfactor = 50);
create index jobs_due on jobs (lane, due_at);
create index jobs_operation on jobs (account_id, operation_id);

-- A recipient's end, inserted once and never changed.
create table notifications (
  account_id   uuid not null,
  operation_id uuid not null,
  index        integer not null,
  status       smallint not null,
  reason       smallint not null,
  user_id      uuid,
  providers    smallint not null,  -- bits: 1 a FCM device was tried, 2 an APN device
  fcm_credential uuid,
  apn_credential uuid,
  devices      jsonb not null,     -- [[provider, token or null for the recipient's own, status, reason, attempts, message id, code]]
  decided_at   timestamptz not null default now(),
  primary key (account_id, operation_id, index)
) partition by range (operation_id);
create index notifications_user on notifications (account_id, user_id, operation_id, index) where user_id is not null;
create index notifications_errors on notifications (account_id, operation_id, index) where status in (4, 6);

-- The status feed: commit order is sequence order, because the account's row is locked by the last write of a commit.
create table feeds (
  account_id uuid primary key references accounts on delete cascade,
  epoch      uuid not null default gen_random_uuid(),
  last_seq   bigint not null default 0
) with (fillfactor = 50);

create table events (
  account_id    uuid not null,
  seq           bigint not null,
  operation_id  uuid not null,
  at            timestamptz not null default now(),
  indexes       integer[] not null,  -- recipients that changed, ascending
  statuses      bytea not null,      -- one byte each
  reasons       bytea not null,      -- one byte each
  status        smallint not null,   -- the operation's, after the change; so are the counts
  recipients    integer not null,
  unaddressable integer not null,
  sent          integer not null,
  failed        integer not null,
  canceled      integer not null,
  created_at    timestamptz not null,  -- the operation's
  primary key (account_id, seq)
);
create index events_operation on events (account_id, operation_id, seq);
create index events_at on events (at);

-- Makes the daily partitions of `parent` from a day ago to `ahead` days from now, where they are missing. A table
-- that is attached locks its parent less than one that is made as a partition: reads and inserts go on.
create function make_partitions(parent text, ahead integer) returns void language plpgsql as $$
declare
  day date;
  name text;
  low uuid;
  high uuid;
begin
  perform pg_advisory_xact_lock(hashtext('pharos.make_partitions'));
  for day in select generate_series((now() at time zone 'utc')::date - 1, (now() at time zone 'utc')::date + ahead, '1 day')::date loop
    name := parent || '_' || to_char(day, 'YYYYMMDD');
    if to_regclass(name) is null then
      low := (lpad(to_hex(extract(epoch from day)::bigint * 1000), 12, '0') || repeat('0', 20))::uuid;
      high := (lpad(to_hex(extract(epoch from day + 1)::bigint * 1000), 12, '0') || repeat('0', 20))::uuid;
      execute format('create table %I (like %I including all)', name, parent);
      execute format('alter table %I attach partition %I for values from (%L) to (%L)', parent, name, low, high);
    end if;
  end loop;
end
$$;
select make_partitions('batches', 8), make_partitions('notifications', 8);

-- Drops a day's partitions. Waits a second for readers at most: another time will do as well.
create function drop_day(day date) returns void language plpgsql set lock_timeout = '1s' as $$
begin
  execute format('drop table if exists %I', 'notifications_' || to_char(day, 'YYYYMMDD'));
  execute format('drop table if exists %I', 'batches_' || to_char(day, 'YYYYMMDD'));
end
$$;
