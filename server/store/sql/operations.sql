-- name: default_app
select app_id, name from apps where account_id = $1 and is_default

-- name: named_app
select app_id, name from apps where account_id = $1 and name = $2

-- name: sender_credentials
-- The credentials that a send names, and the defaults of its app. $4 may be null: then the app of the named ones.
select c.credential_id, c.app_id, a.name as app_name, c.credential_type, c.is_default
from credentials c join apps a using (account_id, app_id)
where c.account_id = $1 and (c.credential_id = any($2::uuid[]) or (c.app_id = $3 and c.is_default))

-- name: insert_operation
-- A time that is over means now. The jobs of a send that waits for its time are in lanes of their own. A bulk send's
-- batches line up over a minute back, so that sends of about the same time take turns (see spread_batch).
with ids as (select new_operation_id() as operation_id, clock_timestamp() as at),
timed as (select operation_id, at, greatest(at, $13::timestamptz) as due_at from ids),
operation as (
  insert into operations (account_id, operation_id, app_id, app_name, fcm_credential, apn_credential, message, tags, ttl,
                          due_at, deadline, created_at, updated_at, status, recipients)
  select $1, operation_id, $2, $3, $4, $5, $6, $7, $8, due_at, due_at + $9::interval, at, at,
         case when due_at > at then 1 else 2 end, $10
  from timed
  returning operation_id, due_at, status),
queued as (
  insert into jobs (account_id, operation_id, batch_no, lane, due_at)
  select $1, operation_id, batch_no, $11 + case when status = 1 then 2 else 0 end,
         case when status = 1 or $11 = 0 then due_at else spread_batch(due_at, batch_no) end
  from operation, generate_series(0, $12 - 1) as batch_no)
select operation_id from operation

-- name: insert_batch
insert into batches (account_id, operation_id, batch_no, first_index, user_ids, tokens, providers, variables)
values ($1, $2, $3, $4, $5, $6, $7, $8)

-- name: insert_accepted_event
with fed as (update feeds set last_seq = last_seq + 1 where account_id = $1 returning last_seq)
insert into events (account_id, seq, operation_id, indexes, statuses, reasons,
                    status, recipients, unaddressable, sent, failed, canceled, created_at)
select $1, fed.last_seq, $2, '{}', '', '', o.status, o.recipients, o.unaddressable, o.sent, o.failed, o.canceled, o.created_at
from fed, operations o where o.account_id = $1 and o.operation_id = $2

-- name: get
select operation_id, status, recipients, unaddressable, sent, failed, canceled, created_at, updated_at
from operations where account_id = $1 and operation_id = $2

-- name: now
select now()
