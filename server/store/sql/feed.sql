-- name: position
select epoch, last_seq from feeds where account_id = $1

-- name: oldest
-- The oldest sequence number still kept; null when the feed is empty.
select least((select min(seq) from events where account_id = $1),
             (select min(seq) from notices where account_id = $1))

-- name: read
-- Events and notices by their common numbers; `kind` is null in an event.
(select seq, operation_id, at, indexes, statuses, reasons, status, recipients, unaddressable, sent, failed, canceled,
        created_at, null::smallint as kind, null::jsonb as body
 from events where account_id = $1 and seq > $2
 order by seq limit $3)
union all
(select seq, null, at, null, null, null, null, null, null, null, null, null, null, kind, body
 from notices where account_id = $1 and seq > $2 and kind in (1, 2)  -- what a newer version writes besides
 order by seq limit $3)
order by seq limit $3

-- name: read_operation
select seq, operation_id, at, indexes, statuses, reasons, status, recipients, unaddressable, sent, failed, canceled,
       created_at, null::smallint as kind
from events where account_id = $1 and operation_id = $2 and seq > $3
order by seq limit $4

-- name: final_recipients
select index, status, reason, decided_at from notifications
where account_id = $1 and operation_id = $2 and ($3::integer is null or index = $3)
order by index
