-- Sends that wait for their time, cancellation, and totals that outlive the operations.

alter table operations add column canceled_at timestamptz;  -- when cancellation was asked for

-- Lanes: 0 small sends, 1 bulk; 2 and 3 are the same before the operation has begun. Workers claim from the first two.
alter table jobs
  add column canceled boolean not null default false,  -- its operation was canceled: no provider is called any more
  add column lost boolean not null default false;      -- a lease of it expired: who was called under it is not known

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
