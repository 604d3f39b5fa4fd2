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
  select from operations
  where operation_id >= $1 and operation_id < $2 and (ended_at is null or ended_at > now() - $3::interval))

-- name: drop_day
select drop_day($1)

-- name: delete_operations
delete from operations where operation_id >= $1 and operation_id < $2

-- name: forget_totals
-- Those of apps that are no more.
delete from app_days d where not exists (select from apps a where a.account_id = d.account_id and a.app_id = d.app_id)

-- name: delete_feeds
-- By sequence and not by time, so that what is left of a feed has no hole.
with kept as materialized (
  select account_id, coalesce(min(seq) filter (where at >= now() - $1::interval), max(seq) + 1) as first_kept
  from (select account_id, seq, at from events union all select account_id, seq, at from notices) as entries
  group by account_id),
old_notices as (
  delete from notices n using kept where n.account_id = kept.account_id and n.seq < kept.first_kept)
delete from events e using kept
where e.account_id = kept.account_id and e.seq < kept.first_kept
