-- name: claim
-- Up to $1 jobs of small sends, $2 of bulk ones, and $2 to end for canceled operations. Accounts take turns: each claim
-- goes on behind account $4 (or $5), looks at 20 of them, and fills up with what is due longest. `small_end` and `bulk_end`
-- are the 20th, in every row; there is one row at least, without a job where none is due. MATERIALIZED matters:
-- without it the planner may run a subquery again for each row and claim more than the limit. And arrays, without which
-- it may read all jobs to find the few; and `limit 1`, which makes it look up each batch and operation by its key.
with recursive small_turns (account_id, n) as (
  (select account_id, 1 from jobs where lane = 0 and account_id > $4 order by account_id limit 1)
  union all
  (select next.account_id, t.n + 1
   from small_turns t
   cross join lateral (
     select account_id from jobs where lane = 0 and account_id > t.account_id order by account_id limit 1) next
   where t.n < 20)),
bulk_turns (account_id, n) as (
  (select account_id, 1 from jobs where lane = 1 and account_id > $5 order by account_id limit 1)
  union all
  (select next.account_id, t.n + 1
   from bulk_turns t
   cross join lateral (
     select account_id from jobs where lane = 1 and account_id > t.account_id order by account_id limit 1) next
   where t.n < 20)),
small as materialized (
  select j.account_id, j.job_id
  from small_turns t
  cross join lateral (
    select account_id, job_id from jobs where lane = 0 and account_id = t.account_id and due_at <= now()
    order by due_at limit $1 for update skip locked) j
  limit $1),
bulk as materialized (
  select j.account_id, j.job_id
  from bulk_turns t
  cross join lateral (
    select account_id, job_id from jobs where lane = 1 and account_id = t.account_id and due_at <= now()
    order by due_at limit $2 for update skip locked) j
  limit $2),
more_small as materialized (
  select account_id, job_id from jobs
  where lane = 0 and due_at <= now() and job_id not in (select job_id from small)
  order by due_at limit $1 - (select count(*) from small) for update skip locked),
more_bulk as materialized (
  select account_id, job_id from jobs
  where lane = 1 and due_at <= now() and job_id not in (select job_id from bulk)
  order by due_at limit $2 - (select count(*) from bulk) for update skip locked),
canceled as materialized (
  select account_id, job_id from jobs where lane = 4 and due_at <= now()
  order by due_at limit $2 for update skip locked),
due as materialized (
  select *, true as in_turn from small union all select *, false from more_small
  union all select *, true from bulk union all select *, false from more_bulk
  union all select *, false from canceled),
claimed as (
  update jobs j set lease = gen_random_uuid(), picks = least(j.picks + 1, 1000), due_at = clock_timestamp() + $3::interval,
                    held_by = null,
                    lost = j.lost or (j.lease is not null and j.lane <> 4)  -- of a canceled one nobody calls
  where j.account_id = any(array(select account_id from due)) and j.job_id = any(array(select job_id from due))
  returning j.account_id, j.job_id, j.operation_id, j.batch_no, j.lane, j.picks, j.lease, j.indexes, j.progress, j.lost)
select looked.*, taken.*
from (select (select account_id from small_turns where n = 20) as small_end,
             (select account_id from bulk_turns where n = 20) as bulk_end) looked
left join (
  select c.*, due.in_turn, clock_timestamp() as claimed_at, o.canceled_at is not null as called_off,
         o.app_id, o.fcm_credential, o.apn_credential, o.message, o.ttl, o.due_at as operation_due_at, o.deadline,
         b.first_index, b.user_ids, b.tokens, b.providers, b.variables
  from claimed c
  join due using (account_id, job_id)
  cross join lateral (
    select * from operations where account_id = c.account_id and operation_id = c.operation_id limit 1) o
  cross join lateral (
    select * from batches
    where account_id = c.account_id and operation_id = c.operation_id and batch_no = c.batch_no limit 1) b) taken on true

-- name: credentials
-- The credentials of a job: those that its send named and that still exist, else the defaults of its app. One named for
-- Apple's production has the app's default for development beside it; one named for development stays alone.
select c.credential_id, c.version, c.credential_type, c.sealed
from credentials c
left join credentials named on named.account_id = $1 and named.credential_id = $4::uuid
where c.account_id = $1
  and (c.credential_id = any(array[$3, $4]::uuid[])
       or (c.app_id = $2 and c.is_default and ((c.credential_type = 1 and $3::uuid is null)
                                               or (c.credential_type in (2, 3) and $4::uuid is null)
                                               or (c.credential_type = 3 and named.credential_type = 2))))

-- name: expand
-- One row per device of each user, and one without a device where there is none. The limits make it look up each user
-- and each user's devices by their keys, whatever the statistics say.
select r.index, u.user_id is not null as known, u.deleted_at is not null as deleted, d.provider, d.token,
       d.environment
from unnest($3::integer[], $4::uuid[]) as r (index, user_id)
left join lateral (
  select user_id, deleted_at from users where account_id = $1 and user_id = r.user_id limit 1) u on true
left join lateral (
  select provider, token, environment, added from devices
  where account_id = $1 and user_id = u.user_id and app_id = $2 and u.deleted_at is null
  order by added limit 1000) d on true
order by r.index, d.added

-- name: flush
-- The fence (the job with my lease), the ends, the counts, the totals, the event, and the job's rest or end: one
-- statement. Locks in this order: job, operation, app day, feed. Answers one row; `held` false: the lease was lost and
-- nothing changed. `canceled` is read from the locked job, so that a cancel that committed before this is always seen.
with job as (
  select account_id, job_id, lane = 4 as canceled from jobs
  where account_id = $1 and job_id = $2 and lease = $3 for update),
ended as (
  insert into notifications (account_id, operation_id, index, status, reason, user_id, providers,
                             fcm_credential, apn_credential, devices)
  select job.account_id, $4, e.index, e.status, e.reason, e.user_id, e.providers,
         case when e.providers & 1 > 0 then $11::uuid end, case when e.providers & 2 > 0 then $12::uuid end,
         e.devices::jsonb
  from job, unnest($5::integer[], $6::smallint[], $7::smallint[], $8::uuid[], $9::smallint[], $10::text[])
            as e (index, status, reason, user_id, providers, devices)
  on conflict do nothing
  returning index, status, reason),
changed as (
  select count(*)::integer as n,
         (count(*) filter (where status = 3))::integer as sent,
         (count(*) filter (where status = 4))::integer as failed,
         (count(*) filter (where status = 5))::integer as canceled,
         (count(*) filter (where status = 6))::integer as unaddressable,
         array_agg(index order by index) as indexes,
         string_agg(set_byte('\x00'::bytea, 0, status), ''::bytea order by index) as statuses,
         string_agg(set_byte('\x00'::bytea, 0, reason), ''::bytea order by index) as reasons
  from ended),
counted as (
  update operations o
  set sent = o.sent + c.sent, failed = o.failed + c.failed, unaddressable = o.unaddressable + c.unaddressable,
      canceled = o.canceled + c.canceled,
      status = case when o.sent + o.failed + o.unaddressable + o.canceled + c.n < o.recipients then o.status
                    when o.canceled + c.canceled > 0 then 4 else 3 end,
      ended_at = case when o.sent + o.failed + o.unaddressable + o.canceled + c.n = o.recipients then clock_timestamp() end,
      updated_at = clock_timestamp()
  from changed c
  where o.account_id = $1 and o.operation_id = $4 and c.n > 0
  returning o.status, o.recipients, o.unaddressable, o.sent, o.failed, o.canceled, o.created_at, o.updated_at,
            o.app_id, c.indexes, c.statuses, c.reasons),
tallied as (
  insert into app_days as a (account_id, app_id, day, sent, failed, canceled, unaddressable)
  select $1, counted.app_id, (counted.updated_at at time zone 'utc')::date, c.sent, c.failed, c.canceled, c.unaddressable
  from counted, changed c
  on conflict (account_id, app_id, day) do update
  set sent = a.sent + excluded.sent, failed = a.failed + excluded.failed, canceled = a.canceled + excluded.canceled,
      unaddressable = a.unaddressable + excluded.unaddressable
  returning day),
fed as (
  update feeds f set last_seq = f.last_seq + 1 from tallied where f.account_id = $1 returning f.last_seq),
told as (
  insert into events (account_id, seq, operation_id, at, indexes, statuses, reasons,
                      status, recipients, unaddressable, sent, failed, canceled, created_at)
  select $1, fed.last_seq, $4, counted.updated_at, counted.indexes, counted.statuses, counted.reasons, counted.status,
         counted.recipients, counted.unaddressable, counted.sent, counted.failed, counted.canceled, counted.created_at
  from fed, counted),
finished as (
  delete from jobs j using job where j.account_id = job.account_id and j.job_id = job.job_id and $13::boolean),
rest as (
  update jobs j
  set due_at = clock_timestamp() + case when job.canceled and not $17::boolean then interval '0' else $14::interval end,
      indexes = $15::integer[], progress = $16::bytea, picks = 0, lease = case when $17::boolean then j.lease end,
      lost = case when $17::boolean then j.lost else $18::boolean end, held_by = $19::uuid
  from job
  where j.account_id = job.account_id and j.job_id = job.job_id and not $13::boolean)
select exists (select from job) as held, (select status from counted) as operation_status,
       coalesce((select canceled from job), false) as canceled

-- name: lock_holder
-- Taken before any job: who changes a credential waits here for the flush, or is seen by it.
select true from credentials
where account_id = $1 and credential_id = $2 and version = $3 and (is_default or credential_id = any($4::uuid[]))
for share

-- name: release
-- What waits for one of the credentials is due at once; whoever has a lease goes on. Locked in the order in which a
-- cancel locks an operation's jobs.
with held as materialized (
  select account_id, job_id from jobs
  where account_id = $1 and held_by = any($2::uuid[]) and lease is null
  order by job_id for update)
update jobs j set due_at = clock_timestamp(), held_by = null
from held where j.account_id = held.account_id and j.job_id = held.job_id

-- name: extend
-- Keeps leases alive; answers those still held. Locked in the order in which a cancel locks an operation's jobs.
with held as materialized (
  select j.account_id, j.job_id
  from jobs j
  join unnest($1::uuid[], $2::uuid[], $3::uuid[]) as held (account_id, job_id, lease)
    on j.account_id = held.account_id and j.job_id = held.job_id and j.lease = held.lease
  order by j.account_id, j.job_id
  for update of j)
update jobs j set due_at = clock_timestamp() + $4::interval
from held where j.account_id = held.account_id and j.job_id = held.job_id
returning j.lease

-- name: give_back
-- A graceful stop: the claim is not counted. The rest is what flush left.
update jobs set due_at = clock_timestamp(), picks = greatest(picks - 1, 0), lease = null, lost = $4
where account_id = $1 and job_id = $2 and lease = $3

-- name: split
-- A job that keeps killing its workers becomes two, each with half of its recipients.
with job as (
  delete from jobs where account_id = $1 and job_id = $2 and lease = $3
  returning account_id, operation_id, batch_no, lane, progress, lost)
insert into jobs (account_id, operation_id, batch_no, lane, due_at, picks, indexes, progress, lost)
select job.account_id, job.operation_id, job.batch_no, job.lane, clock_timestamp(),
       case when cardinality(half.indexes) > 1 then $6 else 0 end, half.indexes, job.progress, job.lost
from job, (values ($4::integer[]), ($5::integer[])) as half (indexes)

-- name: judge_devices
-- What providers said of devices that were not registered again since: with an environment it is noted, without one the
-- device is dead and removed. Answers the removed. All are locked first, in one order, so
-- that two workers with the same devices can't block each other.
with judged as materialized (
  select d.account_id, d.app_id, d.provider, d.token_hash, judged.environment
  from devices d
  join unnest($3::smallint[], $4::bytea[], $5::timestamptz[], $6::smallint[])
       as judged (provider, token_hash, since, environment)
    on d.provider = judged.provider and d.token_hash = judged.token_hash and d.registered_at <= judged.since
  where d.account_id = $1 and d.app_id = $2
  order by d.provider, d.token_hash
  for update of d),
learned as (
  update devices d set environment = judged.environment from judged
  where judged.environment is not null and d.environment is distinct from judged.environment
    and d.account_id = judged.account_id and d.app_id = judged.app_id
    and d.provider = judged.provider and d.token_hash = judged.token_hash)
delete from devices d using judged
where judged.environment is null and d.account_id = judged.account_id and d.app_id = judged.app_id
  and d.provider = judged.provider and d.token_hash = judged.token_hash
returning d.registration_id, d.user_id, d.provider, d.token

-- name: lock_registrations
-- Before looking for empty ones: a registration of a new device waits here, or is seen.
select registration_id from device_registrations where account_id = $1 and registration_id = any($2::uuid[])
order by registration_id for update

-- name: remove_empty_registrations
delete from device_registrations r
where r.account_id = $1 and r.registration_id = any($2::uuid[])
  and not exists (select from devices d where d.account_id = $1 and d.registration_id = r.registration_id)
