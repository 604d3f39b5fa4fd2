-- name: due
-- Operations that wait for a time that has come, those that wait longest first: by the queue's index, lane by lane.
select distinct account_id, operation_id
from (
  (select account_id, operation_id from jobs where lane = 2 and due_at <= now() order by due_at limit $1)
  union all
  (select account_id, operation_id from jobs where lane = 3 and due_at <= now() order by due_at limit $1)) as longest

-- name: begin
-- Hands an operation to the workers and tells its readers. Of several that begin it one does, the others find nothing.
with waiting as materialized (
  select account_id, job_id from jobs
  where account_id = $1 and operation_id = $2 and lane in (2, 3)
  order by job_id for update),
moved as (
  update jobs j set lane = j.lane - 2, due_at = case when j.lane = 3 then spread_batch(j.due_at, j.batch_no) else j.due_at end
  from waiting w where j.account_id = w.account_id and j.job_id = w.job_id),
begun as (
  update operations o set status = 2, updated_at = clock_timestamp()
  where o.account_id = $1 and o.operation_id = $2 and o.status = 1 and o.canceled_at is null
    and exists (select from waiting)
  returning o.status, o.recipients, o.unaddressable, o.sent, o.failed, o.canceled, o.created_at, o.updated_at),
fed as (
  update feeds f set last_seq = f.last_seq + 1 from begun where f.account_id = $1 returning f.last_seq)
insert into events (account_id, seq, operation_id, at, indexes, statuses, reasons,
                    status, recipients, unaddressable, sent, failed, canceled, created_at)
select $1, fed.last_seq, $2, b.updated_at, '{}', '', '', b.status, b.recipients, b.unaddressable, b.sent, b.failed,
       b.canceled, b.created_at
from fed, begun b
returning true

-- name: next_due
select min(first.due_at) - now()
from (values (2), (3)) as waiting (lane)
cross join lateral (select due_at from jobs where lane = waiting.lane order by due_at limit 1) as first
