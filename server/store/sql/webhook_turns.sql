-- Who delivers to a webhook holds its lease: every statement but the claim does nothing without it.

-- name: claim
-- Up to $1 webhooks that somebody has to look after, for $2; longest unserved first. Those whose time has come are found
-- by their index, those whose feed has grown where the accounts $3 say so, or by comparing all ($4). The condition stands
-- twice: the second time it holds for the row as it is locked.
with found as materialized (
  (select account_id, webhook_id from webhooks where status = 1 and due_at <= now() order by due_at limit $1)
  union
  (select w.account_id, w.webhook_id from webhooks w join feeds f using (account_id)
   where w.account_id = any($3::uuid[]) and w.status = 1 and w.follows
     and (f.last_seq <> w.last_seq or f.epoch <> w.epoch))
  union
  (select w.account_id, w.webhook_id from webhooks w join feeds f using (account_id)
   where $4 and w.status = 1 and w.follows and (f.last_seq <> w.last_seq or f.epoch <> w.epoch))),
due as materialized (
  select w.account_id, w.webhook_id from found join webhooks w using (account_id, webhook_id)
  where w.status = 1 and (w.due_at <= now() or w.follows)
  order by w.served_at limit $1 for update of w skip locked)
update webhooks w
set lease = gen_random_uuid(), due_at = now() + $2::interval, follows = false, served_at = now()
from due where w.account_id = due.account_id and w.webhook_id = due.webhook_id
returning w.account_id, w.webhook_id, w.lease, w.url, w.event_types, w.epoch, w.last_seq, w.failures, w.sealed,
          case when w.old_until > now() then w.old_sealed end as old_sealed

-- name: room
-- How many more deliveries may be pending.
select $3::integer - count(*)::integer
from (select from webhook_deliveries where account_id = $1 and webhook_id = $2 and status = 1 limit $3) pending

-- name: take_up
-- Moves on to $5 of the feed $4, with a delivery for each event of the arrays. Answers whether the lease is held.
with held as (
  update webhooks set epoch = $4, last_seq = $5
  where account_id = $1 and webhook_id = $2 and lease = $3 returning true),
made as (
  insert into webhook_deliveries (account_id, webhook_id, epoch, seq, type, missed_after)
  select $1, $2, $4, event.seq, event.type, event.missed_after
  from held, unnest($6::bigint[], $7::text[], $8::bigint[]) with ordinality as event (seq, type, missed_after, place)
  order by event.place)
select exists (select from held)

-- name: due
-- Up to $4 deliveries whose time has come, while the webhook is active.
select delivery_id, epoch, seq, type, missed_after, attempts, created_at
from webhook_deliveries
where account_id = $1 and webhook_id = $2 and status = 1 and due_at <= now()
  and exists (select from webhooks where account_id = $1 and webhook_id = $2 and lease = $3 and status = 1)
order by due_at, delivery_id limit $4

-- name: note_success
update webhooks set failures = 0, failing_since = null
where account_id = $1 and webhook_id = $2 and lease = $3 returning true

-- name: note_failures
-- $4 of them. Disables the webhook where it is gone ($5), or where at least $6 in a row failed over $7.
update webhooks set
  failures = failures + $4,
  failing_since = coalesce(failing_since, now()),
  status = case when status = 1 and ($5 or (failures + $4 >= $6 and failing_since < now() - $7::interval))
                then 3 else status end,
  updated_at = case when status = 1 and ($5 or (failures + $4 >= $6 and failing_since < now() - $7::interval))
                    then now() else updated_at end
where account_id = $1 and webhook_id = $2 and lease = $3 returning true

-- name: record
-- What attempts came to. A wait that is null is the end of the delivery. One whose event is no longer kept ($8 is its
-- error) becomes one of an event of type $9. Follows one of the notes in its transaction.
update webhook_deliveries d set
  status = tried.status, last_attempt_at = now(),
  attempts = case when tried.error = $8 then 0 else d.attempts + 1 end,
  type = case when tried.error = $8 then $9 else d.type end,
  missed_after = case when tried.error = $8 then d.seq - 1 else d.missed_after end,
  response_status = tried.response_status, error = tried.error,
  due_at = now() + coalesce(tried.wait, interval '0'),
  ended_at = case when tried.status = 1 then null else now() end
from unnest($3::uuid[], $4::smallint[], $5::integer[], $6::text[], $7::interval[])
  as tried (delivery_id, status, response_status, error, wait)
where d.account_id = $1 and d.webhook_id = $2 and d.delivery_id = tried.delivery_id

-- name: lock
select from webhooks where account_id = $1 and webhook_id = $2 and lease = $3 for update

-- name: give_back
-- The webhook is due when its next delivery is and, unless $5 are pending, when its feed grows, or at once where it has:
-- the hint may have come while the webhook was held. A rest ($4) comes first.
with pending as (
  select count(*) as number, min(due_at) as due_at
  from (select due_at from webhook_deliveries
        where account_id = $1 and webhook_id = $2 and status = 1 order by due_at limit $5) waiting)
update webhooks w set
  lease = null,
  follows = $4::interval is null and pending.number < $5,
  due_at = coalesce(
    now() + $4::interval,
    case when pending.number < $5 then (
      select now() from feeds f
      where f.account_id = w.account_id and (f.last_seq <> w.last_seq or f.epoch <> w.epoch)) end,
    pending.due_at, 'infinity')
from pending
where w.account_id = $1 and w.webhook_id = $2 and w.lease = $3
