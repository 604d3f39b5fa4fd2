-- name: newest
-- Looks at $4 operations from $2 (newest) down to $3; answers up to $5 that match, and the last one looked at if it is
-- number $4: `matches` tells which. Reads no further than it has to, and what it must read is bounded.
-- Of the recipients' status $9 the counts tell whether the operation can have any.
select operation_id, status, recipients, unaddressable, sent, failed, canceled, created_at, updated_at,
       looked_at, matches
from (
  select o.*, row_number() over (order by o.operation_id desc) as looked_at,
         ($6::timestamptz is null or o.created_at >= $6) and ($7::timestamptz is null or o.created_at < $7)
         and ($8::jsonb is null or o.tags @> $8)
         and case $9::smallint when 3 then o.sent > 0 when 4 then o.failed > 0 when 5 then o.canceled > 0 else true end
         and ($10::smallint is null or o.status = $10) as matches
  from (
    select operation_id, status, recipients, unaddressable, sent, failed, canceled, created_at, updated_at, tags
    from operations
    where account_id = $1 and operation_id <= $2 and operation_id >= $3
    order by operation_id desc limit $4) o) looked
where matches or looked_at = $4
order by operation_id desc limit $5

-- name: newest_unfinished
-- The same among operations with work left: those that have jobs. So no index has a status in it, which would end
-- HOT updates of operations.
select operation_id, status, recipients, unaddressable, sent, failed, canceled, created_at, updated_at,
       looked_at, matches
from (
  select o.*, j.operation_id, row_number() over (order by j.operation_id desc) as looked_at,
         o.created_at is not null
         and ($6::timestamptz is null or o.created_at >= $6) and ($7::timestamptz is null or o.created_at < $7)
         and ($8::jsonb is null or o.tags @> $8) and o.status = $9 as matches
  from (
    select distinct operation_id from jobs
    where account_id = $1 and operation_id <= $2 and operation_id >= $3
    order by operation_id desc limit $4) j
  left join lateral (
    select status, recipients, unaddressable, sent, failed, canceled, created_at, updated_at, tags
    from operations where account_id = $1 and operation_id = j.operation_id limit 1) o on true) looked
where matches or looked_at = $4
order by operation_id desc limit $5
