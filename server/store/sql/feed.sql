-- name: position
select epoch, last_seq from feeds where account_id = $1

-- name: oldest
-- The oldest sequence number still kept; null when the feed is empty.
select least((select min(seq) from events where account_id = $1),
             (select min(seq) from notices where account_id = $1))

-- name: read
-- Up to $3 events and notices behind $2 by their common numbers, or events of operation $5 alone, and no more once they
-- have $4 recipients. `kind` is null in an event. Who the recipients are and what became of their devices is read from
-- where it is kept, as arrays by ascending index. `|| '{}'` reads a batch's arrays from TOAST once, not per recipient.
with entries as materialized (
  (select seq, operation_id, at, indexes, statuses, reasons, status, recipients, unaddressable, sent, failed, canceled,
          created_at, null::smallint as kind, null::jsonb as body
   from events where $5::uuid is null and account_id = $1 and seq > $2
   order by seq limit $3)
  union all
  (select seq, operation_id, at, indexes, statuses, reasons, status, recipients, unaddressable, sent, failed, canceled,
          created_at, null, null
   from events where account_id = $1 and operation_id = $5 and seq > $2
   order by seq limit $3)
  union all
  (select seq, null, at, null, null, null, null, null, null, null, null, null, null, kind, body
   from notices where $5::uuid is null and account_id = $1 and seq > $2
   order by seq limit $3)
  order by seq limit $3),
weighed as materialized (
  select *, sum(coalesce(cardinality(indexes), 0)) over (order by seq) - coalesce(cardinality(indexes), 0) as before
  from entries)
select e.*, o.app_name, n.ended, n.user_ids, n.devices, r.listed, r.tokens, r.providers
from weighed e
left join lateral (
  select app_name from operations where account_id = $1 and operation_id = e.operation_id limit 1) o on true
left join lateral (
  select array_agg(index order by index) as ended, array_agg(user_id order by index) as user_ids,
         array_agg(devices::text order by index) as devices
  from notifications
  where account_id = $1 and operation_id = e.operation_id and index = any(e.indexes)) n on true
left join lateral (
  select array_agg(i.index order by i.index) as listed,
         array_agg(b.tokens[i.index - b.first_index + 1] order by i.index) as tokens,
         array_agg(b.providers[i.index - b.first_index + 1] order by i.index) as providers
  from (select index / 500 as batch_no, array_agg(index) as indexes from unnest(e.indexes) as all_of (index) group by 1) part
  cross join lateral (
    select first_index, tokens || '{}' as tokens, providers || '{}' as providers from batches
    where account_id = $1 and operation_id = e.operation_id and batch_no = part.batch_no offset 0) b
  cross join lateral unnest(part.indexes) as i (index)) r on true
where e.before < $4
order by e.seq

-- name: final_recipients
-- Of an operation, those that are final, or $3 of them.
select n.operation_id, n.index, n.status, n.reason, n.decided_at, n.user_id, n.devices::text as devices,
       r.token, r.provider
from notifications n
left join lateral (
  select tokens[n.index - first_index + 1] as token, providers[n.index - first_index + 1] as provider
  from batches
  where account_id = $1 and operation_id = $2 and batch_no = n.index / 500 limit 1) r on true
where n.account_id = $1 and n.operation_id = $2 and ($3::integer[] is null or n.index = any($3))
order by n.index
