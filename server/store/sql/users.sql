-- Deleting takes the locks in the order of registrations.sql: devices, user, registrations.

-- name: get
select user_id, created_at, updated_at, deleted_at from users where account_id = $1 and user_id = $2

-- name: newest
-- At or before $2, newest first, without the deleted ones.
select user_id, created_at, updated_at, deleted_at from users
where account_id = $1 and user_id <= $2 and deleted_at is null
order by user_id desc limit $3

-- name: lock_devices
-- The user's devices under all apps.
with locked as materialized (
  select from devices where account_id = $1 and user_id = $2
  order by app_id, provider, token_hash for update)
select count(*) from locked

-- name: lock
-- The user, unless deleted. From here on it gets no more devices.
select user_id from users where account_id = $1 and user_id = $2 and deleted_at is null for no key update

-- name: lock_late_devices
-- Those that came before the user was locked, without waiting: who holds one may wait for the user. Answers whether
-- all are ours now.
with locked as materialized (
  select from devices where account_id = $1 and user_id = $2 for update skip locked)
select (select count(*) from locked) = (select count(*) from devices where account_id = $1 and user_id = $2)

-- name: lock_registrations
select from device_registrations where account_id = $1 and user_id = $2 order by registration_id for update

-- name: delete
-- The user stays as a mark; the registrations go, and with them their devices.
with gone as (
  delete from device_registrations where account_id = $1 and user_id = $2)
update users set deleted_at = statement_timestamp(), updated_at = statement_timestamp()
where account_id = $1 and user_id = $2
