-- Sends that wait for their time, cancellation, and totals that outlive the operations.

alter table operations add column canceled_at timestamptz;  -- when cancellation was asked for

-- Lanes of jobs: 0 small sends, 1 bulk, 2 and 3 the same before the operation has begun, 4 those of canceled operations,
-- for which no provider is called any more. Workers before this version know the first two lanes alone, and don't see
-- the others. What they take over from a dead worker, and what they record, goes without `lost` and the totals.
alter table jobs add column lost boolean not null default false;  -- a lease of it expired: whom it called is not known

-- What became final, by app and day (UTC). Written with every flush.
create table app_days (
  account_id    uuid not null references accounts on delete cascade,
  app_id        uuid not null,
  day           date not null,
  sent          bigint not null default 0,
  failed        bigint not null default 0,
  canceled      bigint not null default 0,
  unaddressable bigint not null default 0,
  primary key (account_id, app_id, day)
) with (fillfactor = 50);

-- Deleted users stay, as marks; lists of the others don't walk over them.
create index users_live on users (account_id, user_id) where deleted_at is null;
