-- name: get
select o.operation_id, $3::integer as index, o.message, o.tags, o.fcm_credential as named_fcm, o.apn_credential as named_apn,
       o.created_at, o.status as operation_status,
       b.user_ids[$3 - b.first_index + 1] as user_id, b.tokens[$3 - b.first_index + 1] as token,
       b.providers[$3 - b.first_index + 1] as provider, b.variables[$3 - b.first_index + 1] as variables,
       n.status, n.reason, n.devices, n.decided_at, n.fcm_credential, n.apn_credential
from operations o
join batches b on b.account_id = o.account_id and b.operation_id = o.operation_id and b.batch_no = $3 / 500
left join notifications n on n.account_id = o.account_id and n.operation_id = o.operation_id and n.index = $3
where o.account_id = $1 and o.operation_id = $2 and $3 < o.recipients

-- name: newest_operations
-- Operations at or before $2, newest first.
select operation_id, recipients from operations
where account_id = $1 and operation_id <= $2 and ($4::uuid is null or operation_id = $4)
order by operation_id desc limit $3

-- name: list_recipients
-- Up to $6 of the recipients $3 to $4 (exclusive) of one operation that are notifications, with status $5 if given.
-- Without the content, which may be 64 KiB and would come once for each.
with send as materialized (
  select account_id, operation_id, message::json -> 'presentation' as presentation, tags, fcm_credential, apn_credential,
         created_at, status
  from operations where account_id = $1 and operation_id = $2)
select o.operation_id, b.first_index + r.position::integer - 1 as index, o.presentation, o.tags,
       o.fcm_credential as named_fcm, o.apn_credential as named_apn, o.created_at,
       o.status as operation_status, r.user_id, r.token, r.provider, r.variables,
       n.status, n.reason, n.devices, n.decided_at, n.fcm_credential, n.apn_credential
from send o
join batches b on b.account_id = $1 and b.operation_id = $2
              and b.batch_no between $3 / 500 and ($4 - 1) / 500
cross join lateral unnest(b.user_ids, b.tokens, b.providers, b.variables)
                   with ordinality as r (user_id, token, provider, variables, position)
left join notifications n on n.account_id = $1 and n.operation_id = $2
                         and n.index = b.first_index + r.position::integer - 1
where b.first_index + r.position - 1 >= $3 and b.first_index + r.position - 1 < $4
  and n.status is distinct from 6
  and ($5::smallint is null
       or coalesce(n.status, case o.status when 1 then 1 else 2 end) = $5)
order by index limit $6

-- name: errors
-- The recipients of an operation from index $3 on that failed or had no usable device.
select n.index, n.status, n.reason, n.devices, n.decided_at,
       b.user_ids[n.index - b.first_index + 1] as user_id, b.tokens[n.index - b.first_index + 1] as token,
       b.providers[n.index - b.first_index + 1] as provider
from notifications n
join batches b on b.account_id = n.account_id and b.operation_id = n.operation_id and b.batch_no = n.index / 500
where n.account_id = $1 and n.operation_id = $2 and n.status in (4, 6) and n.index >= $3
order by n.index limit $4
