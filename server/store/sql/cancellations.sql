-- name: lock_jobs
-- What any worker does with the operation's jobs ends before this, or sees what follows it.
select job_id from jobs where account_id = $1 and operation_id = $2 order by job_id for update

-- name: mark
-- From the commit of this on no claim calls a provider. Answers the operation's status before; null: there is none.
-- The jobs that nobody holds are ended by whoever marked them; $3 later a worker does it. A lease that is held now may
-- yet be lost, with calls that nobody knows of.
with operation as materialized (
  select status from operations where account_id = $1 and operation_id = $2 for no key update),
marked as (
  update operations set canceled_at = coalesce(canceled_at, clock_timestamp())
  where account_id = $1 and operation_id = $2 and (select status from operation) in (1, 2)),
flagged as (
  update jobs
  set lane = 4, lost = lost or lease is not null,
      due_at = case when lease is null then clock_timestamp() + $3::interval else due_at end
  where account_id = $1 and operation_id = $2 and lane <> 4)
select (select status from operation) as status

-- name: take
-- One of the operation's jobs that no worker has, as jobs.sql's claim gives it. Waits for others who look at it, as the
-- scheduler may; where they end it this finds nothing, though there may be more (left).
with free as materialized (
  select account_id, job_id from jobs
  where account_id = $1 and operation_id = $2 and lane = 4 and lease is null
  order by job_id limit 1 for update),
taken as (
  update jobs j set lease = gen_random_uuid()
  from free where j.account_id = free.account_id and j.job_id = free.job_id
  returning j.account_id, j.job_id, j.operation_id, j.batch_no, j.lane, j.picks, j.lease, j.indexes, j.progress,
            j.lost)
select t.*, clock_timestamp() as claimed_at, true as called_off,
       o.app_id, o.fcm_credential, o.apn_credential, o.message, o.ttl, o.due_at as operation_due_at, o.deadline,
       b.first_index, b.user_ids, b.tokens, b.providers, b.variables
from taken t
join operations o using (account_id, operation_id)
join batches b using (account_id, operation_id, batch_no)

-- name: left
select exists (select from jobs where account_id = $1 and operation_id = $2 and lane = 4 and lease is null)
