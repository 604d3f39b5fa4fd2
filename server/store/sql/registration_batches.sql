-- Many devices at once, in the lock order of registrations.sql: apps, devices, users, registrations, and of each kind
-- all of them before the next kind. New devices come last, in the devices' order, so that two batches with the same
-- ones can't wait for each other.

-- name: lock_apps
-- The apps named, and with $3 the default one, kept from being deleted.
select app_id, name, is_default from apps
where account_id = $1 and (name = any($2::text[]) or ($3 and is_default))
order by app_id for key share

-- name: lock_devices
select d.app_id, d.provider, d.token_hash, d.user_id
from unnest($2::uuid[], $3::smallint[], $4::bytea[]) as wanted (app_id, provider, token_hash)
join devices d on d.account_id = $1 and d.app_id = wanted.app_id and d.provider = wanted.provider
              and d.token_hash = wanted.token_hash
order by d.app_id, d.provider, d.token_hash for update of d

-- name: lock_users
select user_id, deleted_at is not null as deleted from users where account_id = $1 and user_id = any($2::uuid[])
order by user_id for no key update

-- name: lock_registrations
select registration_id, user_id, app_id from device_registrations
where account_id = $1 and user_id = any($2::uuid[]) and app_id = any($3::uuid[])
order by registration_id for update

-- name: count_devices
select user_id, app_id, count(*) as devices from devices
where account_id = $1 and user_id = any($2::uuid[]) and app_id = any($3::uuid[])
group by user_id, app_id

-- name: new_ids
select new_id() from generate_series(1, $1::integer)

-- name: insert_users
insert into users (account_id, user_id) select $1, unnest($2::uuid[])

-- name: insert_registrations
insert into device_registrations (account_id, registration_id, user_id, app_id)
select $1, made.* from unnest($2::uuid[], $3::uuid[], $4::uuid[]) as made

-- name: insert_devices
-- `added` counts in the request's order, the rows come in the devices'. Answers how many were not there yet.
with fresh as materialized (
  select nextval(pg_get_serial_sequence('devices', 'added')) as added, new.*
  from unnest($2::uuid[], $3::smallint[], $4::bytea[], $5::text[], $6::uuid[], $7::uuid[])
       as new (app_id, provider, token_hash, token, registration_id, user_id)),
inserted as (
  insert into devices (account_id, app_id, provider, token_hash, token, registration_id, user_id, added)
  overriding system value
  select $1, app_id, provider, token_hash, token, registration_id, user_id, added from fresh
  order by app_id, provider, token_hash
  on conflict do nothing
  returning true)
select count(*) from inserted

-- name: move_device
update devices set registration_id = $5, user_id = $6, added = default, registered_at = now(), environment = null
where account_id = $1 and app_id = $2 and provider = $3 and token_hash = $4

-- name: refresh_devices
update devices d set registered_at = now(), environment = null
from unnest($2::uuid[], $3::smallint[], $4::bytea[]) as known (app_id, provider, token_hash)
where d.account_id = $1 and d.app_id = known.app_id and d.provider = known.provider
  and d.token_hash = known.token_hash

-- name: touch
with registrations as (
  update device_registrations set updated_at = now() where account_id = $1 and registration_id = any($3::uuid[]))
update users set updated_at = now() where account_id = $1 and user_id = any($2::uuid[])

-- name: delete_empty
delete from device_registrations r
where r.account_id = $1 and r.registration_id = any($2::uuid[])
  and not exists (select from devices d where d.account_id = $1 and d.registration_id = r.registration_id)
