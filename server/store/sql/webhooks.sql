-- name: new_id
select new_id()

-- name: count
select count(*) from webhooks where account_id = $1

-- name: insert
-- It gets what happens behind the feed's end.
insert into webhooks (account_id, webhook_id, url, event_types, description, sealed, epoch, last_seq)
select $1, $2, $3, $4, $5, $6, epoch, last_seq from feeds where account_id = $1

-- name: get
select webhook_id, url, event_types, description, status, failing_since,
       case when old_until > now() then old_until end as old_until, created_at, updated_at
from webhooks where account_id = $1 and webhook_id = $2

-- name: newest
-- At or before $2, newest first.
select webhook_id, url, event_types, description, status, failing_since,
       case when old_until > now() then old_until end as old_until, created_at, updated_at
from webhooks where account_id = $1 and webhook_id <= $2
order by webhook_id desc limit $3

-- name: delete
delete from webhooks where account_id = $1 and webhook_id = $2 returning webhook_id

-- name: rotate
-- The secret before stays good for $4.
update webhooks set old_sealed = sealed, old_until = now() + $4::interval, sealed = $3, updated_at = now()
where account_id = $1 and webhook_id = $2 returning webhook_id

-- name: secret
select sealed from webhooks where account_id = $1 and webhook_id = $2

-- name: pause
update webhooks set status = 2, updated_at = case status when 2 then updated_at else now() end
where account_id = $1 and webhook_id = $2 returning webhook_id

-- name: resume
-- What it did before is forgotten. Who still delivers to it gives it back by itself.
update webhooks set status = 1, failures = 0, failing_since = null, updated_at = now(),
                    due_at = case when lease is null then now() else due_at end
where account_id = $1 and webhook_id = $2 and status <> 1

-- name: lock
select webhook_id from webhooks where account_id = $1 and webhook_id = $2 for update

-- name: deliveries
-- At or before $3, newest first.
select delivery_id, epoch, seq, type, status, attempts, last_attempt_at, response_status, error,
       case when status = 1 then due_at end as next_attempt_at, created_at
from webhook_deliveries
where account_id = $1 and webhook_id = $2 and delivery_id <= $3 and ($5::smallint is null or status = $5)
order by delivery_id desc limit $4

-- name: replay
-- Of $3, or where that is null all that failed.
update webhook_deliveries
set status = 1, attempts = 0, due_at = now(), ended_at = null
where account_id = $1 and webhook_id = $2
  and case when $3::uuid[] is null then status = 3 else delivery_id = any($3) end

-- name: wake
-- There is something to deliver. Who holds it will look again before giving it back.
update webhooks set due_at = now() where account_id = $1 and webhook_id = $2 and lease is null

-- name: accounts
select distinct account_id from webhooks

-- name: expire
-- Up to $3 of an account's deliveries that ended more than $2 ago. Answers nothing when there are none.
with gone as (
  delete from webhook_deliveries
  where ctid = any(array(
    select ctid from webhook_deliveries
    where account_id = $1 and status <> 1 and ended_at < now() - $2::interval limit $3 for update skip locked))
  returning true)
select true from gone limit 1
