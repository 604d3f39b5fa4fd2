-- name: days
-- The days that have a partition and lie wholly before the time that is kept, oldest first.
select to_date(right(c.relname, 8), 'YYYYMMDD') as day
from pg_inherits i join pg_class c on c.oid = i.inhrelid
where i.inhparent = 'batches'::regclass
  and to_date(right(c.relname, 8), 'YYYYMMDD') + 1 <= (now() - $1::interval) at time zone 'utc'
order by 1

-- name: is_over
-- Whether every operation accepted on a day (its ids from $1 to $2) is final, the newest for as long as is kept.
select not exists (
  select from accounts a
  cross join lateral (
    select from operations
    where account_id = a.account_id and operation_id >= $1 and operation_id < $2
      and (ended_at is null or ended_at > now() - $3::interval) limit 1) running)

-- name: drop_day
select drop_day($1)

-- name: accounts
select account_id from accounts

-- name: delete_operations
-- Up to $4 of an account's, with ids from $2 to $3. Answers nothing when there are none.
with gone as (
  delete from operations
  where account_id = $1 and operation_id = any(array(
    select operation_id from operations where account_id = $1 and operation_id >= $2 and operation_id < $3 limit $4))
  returning true)
select true from gone limit 1

-- name: forget_totals
-- Those of apps that are no more.
delete from app_days d where not exists (select from apps a where a.account_id = d.account_id and a.app_id = d.app_id)

-- name: first_kept
-- The first sequence number of an account's feed that is kept. By sequence and not by time, so that what is left of a
-- feed has no hole. Each `order by` stops at the first recent entry.
select coalesce(
  least((select seq from events where account_id = $1 and at >= now() - $2::interval order by seq limit 1),
        (select seq from notices where account_id = $1 and at >= now() - $2::interval order by seq limit 1)),
  greatest((select max(seq) from events where account_id = $1),
           (select max(seq) from notices where account_id = $1)) + 1)

-- name: delete_feed
-- The oldest $3 entries of an account's feed below $2, events and notices together: at no time is there a hole. Answers
-- up to where; nothing when there are none.
with bound as materialized (
  select least($2, seq + $3) as upto
  from (select least((select min(seq) from events where account_id = $1),
                     (select min(seq) from notices where account_id = $1)) as seq) oldest
  where seq < $2),
old_notices as (
  delete from notices using bound where account_id = $1 and seq < bound.upto),
old_events as (
  delete from events using bound where account_id = $1 and seq < bound.upto)
select upto from bound
