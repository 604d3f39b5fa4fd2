-- A lateral subquery with a limit is one look-up for each row: the planner can't read an account's whole table instead.

-- name: in_sends
-- The first $7 recipients, in the sends' order, of $2 from index $3 to $4 (exclusive) that are notifications with status
-- $5 and provider $6, where given. Whether a status below 3 is QUEUED or SCHEDULED is the send's, and known.
select s.operation_id, b.first_index + r.position::integer - 1 as index
from unnest($2::uuid[], $3::integer[], $4::integer[]) with ordinality as s (operation_id, first, last, place)
cross join lateral (
  select first_index, providers from batches
  where account_id = $1 and operation_id = s.operation_id and batch_no between s.first / 500 and (s.last - 1) / 500
  order by batch_no limit (s.last - 1) / 500 - s.first / 500 + 1) b
cross join lateral unnest(b.providers) with ordinality as r (provider, position)
left join lateral (
  select status, providers from notifications
  where account_id = $1 and operation_id = s.operation_id and index = b.first_index + r.position::integer - 1
  limit 1) n on true
where b.first_index + r.position - 1 >= s.first and b.first_index + r.position - 1 < s.last
  and n.status is distinct from 6
  and ($5::smallint is null or n.status = $5 or ($5 < 3 and n.status is null))
  and ($6::smallint is null or n.providers & $6 > 0 or r.provider = $6)
order by s.place, index limit $7

-- name: failed_in_sends
-- The same for FAILED, by the index on errors: the first $6, with provider $5 where given.
select s.operation_id, n.index
from unnest($2::uuid[], $3::integer[], $4::integer[]) with ordinality as s (operation_id, first, last, place)
cross join lateral (
  select n.index from notifications n
  where n.account_id = $1 and n.operation_id = s.operation_id and n.index >= s.first and n.index < s.last
    and n.status in (4, 6) and n.status = 4
    and ($5::smallint is null or n.providers & $5 > 0
         or (select b.providers[n.index - b.first_index + 1] = $5 from batches b
             where b.account_id = $1 and b.operation_id = s.operation_id and b.batch_no = n.index / 500))
  order by n.index limit $6) n
order by s.place, n.index limit $6

-- name: final_of_user
-- Looks at $6 final recipients that are user $2, from operation $3 and index $4 in it down to operation $5; answers up
-- to $7 that match, and the last one looked at if it is number $6 (`last`).
select operation_id, index, matches, looked_at = $6 as last
from (
  select n.operation_id, n.index, row_number() over (order by n.operation_id desc, n.index) as looked_at,
         n.status <> 6 and ($8::smallint is null or n.status = $8)
         and ($9::smallint is null or n.providers & $9 > 0)
         and coalesce((
           select ($10::timestamptz is null or o.created_at >= $10) and ($11::timestamptz is null or o.created_at < $11)
                  and ($12::jsonb is null or o.tags @> $12)
           from operations o where o.account_id = $1 and o.operation_id = n.operation_id), false) as matches
  from (
    select operation_id, index, status, providers from notifications
    where account_id = $1 and user_id = $2 and operation_id <= $3 and operation_id >= $5
      and (operation_id < $3 or index >= $4)
    order by operation_id desc, index limit $6) n) looked
where matches or looked_at = $6
order by operation_id desc, index limit $7

-- name: waiting_of_user
-- The same among recipients that are not final: looks at $6 batches that have jobs, and answers the end of the last one
-- besides if there may be more.
with looked as materialized (
  select distinct operation_id, batch_no from jobs
  where account_id = $1 and operation_id <= $3 and operation_id >= $5 and (operation_id < $3 or batch_no >= $4 / 500)
  order by operation_id desc, batch_no limit $6),
found as (
  select l.operation_id, b.first_index + r.position::integer - 1 as index
  from looked l
  cross join lateral (
    select first_index, user_ids from batches
    where account_id = $1 and operation_id = l.operation_id and batch_no = l.batch_no and user_ids @> array[$2::uuid]
    limit 1) b
  cross join lateral unnest(b.user_ids) with ordinality as r (user_id, position)
  cross join lateral (
    select from operations
    where account_id = $1 and operation_id = l.operation_id and ($8::smallint is null or status = $8)
      and ($9::timestamptz is null or created_at >= $9) and ($10::timestamptz is null or created_at < $10)
      and ($11::jsonb is null or tags @> $11)
    limit 1) o
  left join lateral (
    select status from notifications
    where account_id = $1 and operation_id = l.operation_id and index = b.first_index + r.position::integer - 1
    limit 1) n on true
  where r.user_id = $2 and (l.operation_id < $3 or b.first_index + r.position - 1 >= $4) and n.status is null)
select operation_id, index, true as matches, false as last from found
union all
(select operation_id, batch_no * 500 + 499, false, true from looked order by operation_id desc, batch_no offset $6 - 1)
order by operation_id desc, index, last limit $7
