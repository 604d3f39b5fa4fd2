-- name: get
select o.operation_id, $3::integer as index, o.message, o.tags, o.fcm_credential as named_fcm, o.apn_credential as named_apn,
       o.created_at, o.status as operation_status,
       b.user_ids[$3 - b.first_index + 1] as user_id, b.tokens[$3 - b.first_index + 1] as token,
       b.providers[$3 - b.first_index + 1] as provider, b.variables[$3 - b.first_index + 1] as variables,
       n.status, n.reason, n.devices, n.decided_at, n.fcm_credential, n.apn_credential,
       (select j.progress from jobs j where j.account_id = o.account_id and j.operation_id = o.operation_id
        and j.batch_no = b.batch_no and (j.indexes is null or $3 = any(j.indexes)) limit 1) as progress
from operations o
join batches b on b.account_id = o.account_id and b.operation_id = o.operation_id and b.batch_no = $3 / 500
left join notifications n on n.account_id = o.account_id and n.operation_id = o.operation_id and n.index = $3
where o.account_id = $1 and o.operation_id = $2 and $3 < o.recipients

-- name: at_places
-- The recipients $3 of the operations $2, in the order given. Without the content, which may be 64 KiB and would come
-- once for each. What joins `|| '{}'` is that a batch's arrays are read from TOAST once and not for each recipient.
with wanted as materialized (
  select * from unnest($2::uuid[], $3::integer[]) with ordinality as w (operation_id, index, place)),
sends as materialized (
  select operation_id, message::json -> 'presentation' as presentation, tags, fcm_credential, apn_credential,
         created_at, status
  from operations where account_id = $1 and operation_id = any($2::uuid[])),
recipients as materialized (
  select part.operation_id, i.index, b.user_ids[i.index - b.first_index + 1] as user_id,
         b.tokens[i.index - b.first_index + 1] as token, b.providers[i.index - b.first_index + 1] as provider,
         b.variables[i.index - b.first_index + 1] as variables
  from (select operation_id, index / 500 as batch_no, array_agg(index) as indexes from wanted group by 1, 2) part
  cross join lateral (
    select first_index, user_ids || '{}' as user_ids, tokens || '{}' as tokens, providers || '{}' as providers,
           variables || '{}' as variables
    from batches
    where account_id = $1 and operation_id = part.operation_id and batch_no = part.batch_no offset 0) b
  cross join lateral unnest(part.indexes) as i (index))
select w.operation_id, w.index, s.presentation, s.tags, s.fcm_credential as named_fcm, s.apn_credential as named_apn,
       s.created_at, s.status as operation_status, r.user_id, r.token, r.provider, r.variables,
       n.status, n.reason, n.devices, n.decided_at, n.fcm_credential, n.apn_credential
from wanted w
join sends s on s.operation_id = w.operation_id
join recipients r on r.operation_id = w.operation_id and r.index = w.index
left join lateral (
  select status, reason, devices, decided_at, fcm_credential, apn_credential from notifications
  where account_id = $1 and operation_id = w.operation_id and index = w.index limit 1) n on true
order by w.place

-- name: errors
-- The recipients of an operation from index $3 on that failed or had no usable device.
select n.index, n.status, n.reason, n.devices, n.decided_at,
       b.user_ids[n.index - b.first_index + 1] as user_id, b.tokens[n.index - b.first_index + 1] as token,
       b.providers[n.index - b.first_index + 1] as provider
from notifications n
join batches b on b.account_id = n.account_id and b.operation_id = n.operation_id and b.batch_no = n.index / 500
where n.account_id = $1 and n.operation_id = $2 and n.status in (4, 6) and n.index >= $3
order by n.index limit $4
